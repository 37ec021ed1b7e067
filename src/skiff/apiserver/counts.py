"""How is the API used? What ``/metrics`` tells, under the names that dashboards of Kubernetes ask for.

Counting is a few additions for each request; the text is made by prometheus_client when somebody asks for it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, NamedTuple

from skiff.apiserver.registry import Registry
from skiff.kinds import COMPUTED, REVIEWS, Kind

#: Seconds, as the real server has them.
BUCKETS = (
    0.005,
    0.025,
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    1.0,
    1.25,
    1.5,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    15,
    20,
    30,
    45,
    60,
)
#: Definitions come and go, and each adds resources: what comes after so many different ones is counted together.
MOST = 2000
_LABELS = ["verb", "group", "version", "resource", "subresource", "scope", "component"]
_WRITES = {"POST": "POST", "PUT": "PUT", "PATCH": "PATCH", "DELETE": "DELETE"}
#: They last as long as the client wishes.
LASTING = frozenset({"WATCH", "CONNECT"})


class Asked(NamedTuple):
    """What a request was about. Everything is "" for a path that is no resource."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    scope: str = ""


_OTHER = Asked("GET", resource="other")


def asked(method: str, kind: Kind, namespace: str, name: str, sub: str, *, watch: bool, apply: bool) -> Asked:
    """Of a request for a resource."""
    if sub in ("exec", "attach", "portforward", "proxy", "log"):
        verb = "CONNECT"
    elif method in ("GET", "HEAD"):
        verb = "GET" if name else "WATCH" if watch else "LIST"
    elif method == "DELETE" and not name:
        verb = "DELETECOLLECTION"
    else:
        verb = "APPLY" if apply else _WRITES.get(method, "other")
    scope = "resource" if name or method == "POST" else "namespace" if namespace else "cluster"
    return Asked(verb, kind.group, kind.version, kind.plural, sub, scope)


class Counts:
    """What happened since the daemon began."""

    def __init__(self) -> None:
        self._answered: dict[tuple[Asked, int], int] = {}
        self._durations: dict[Asked, list[float]] = {}  # how many in each bucket, then their sum
        self.running: dict[Asked, int] = {}

    def begin(self, it: Asked) -> None:
        """A request is being served."""
        self.running[it] = self.running.get(it, 0) + 1

    def end(self, it: Asked, code: int, seconds: float) -> None:
        """It was answered."""
        self.running[it] = self.running.get(it, 1) - 1
        if not self.running[it]:
            del self.running[it]
        if it not in self._durations and len(self._durations) >= MOST:
            it = _OTHER._replace(verb=it.verb)
        key = (it, code)
        self._answered[key] = self._answered.get(key, 0) + 1
        buckets = self._durations.setdefault(it, [0] * (len(BUCKETS) + 2))
        if it.verb not in LASTING:
            buckets[bisect_left(BUCKETS, seconds)] += 1
            buckets[-1] += seconds

    def text(self, registry: Registry, accept: str) -> tuple[bytes, str]:
        """(the page, its content type)."""
        import prometheus_client  # 40 ms and some MB: only when asked for
        from prometheus_client.exposition import choose_encoder

        found = prometheus_client.CollectorRegistry()
        found.register(_Page(self, registry))
        prometheus_client.ProcessCollector(registry=found)
        encode, form = choose_encoder(accept)
        return encode(found), form

    def families(self, registry: Registry) -> Iterator[Any]:
        """The metrics, as prometheus_client wants them."""
        from prometheus_client import core

        total = core.CounterMetricFamily(
            "apiserver_request", "Requests by what they were about and how they were answered.", labels=[*_LABELS, "code"]
        )  # fmt: skip
        for (it, code), count in self._answered.items():
            total.add_metric([*it, "apiserver", str(code)], count)
        yield total
        duration = core.HistogramMetricFamily(
            "apiserver_request_duration_seconds", "Seconds to the end of an answer; watches and streams are left out.",
            labels=_LABELS,
        )  # fmt: skip
        for it, counted in self._durations.items():
            if it.verb not in LASTING:
                duration.add_metric([*it, "apiserver"], _summed(counted), counted[-1])
        yield duration
        yield from self._now(registry)

    def _now(self, registry: Registry) -> Iterator[Any]:
        from prometheus_client import core

        lasting = core.GaugeMetricFamily(
            "apiserver_longrunning_requests", "Watches and streams.", labels=_LABELS
        )
        watchers: dict[tuple[str, str, str], int] = {}
        busy = {"readOnly": 0, "mutating": 0}
        for it, count in self.running.items():
            if it.verb in LASTING:
                lasting.add_metric([*it, "apiserver"], count)
            else:
                busy["readOnly" if it.verb in ("GET", "LIST") else "mutating"] += count
            if it.verb == "WATCH":
                watched = (it.group, it.version, it.resource)
                watchers[watched] = watchers.get(watched, 0) + count
        yield lasting
        inflight = core.GaugeMetricFamily(
            "apiserver_current_inflight_requests", "Requests being served, without watches and streams.", labels=["request_kind"]
        )  # fmt: skip
        for word, count in busy.items():
            inflight.add_metric([word], count)
        yield inflight
        watching = core.GaugeMetricFamily(
            "apiserver_registered_watchers", "Watches.", labels=["group", "version", "kind"]
        )
        for watched, count in watchers.items():
            watching.add_metric(list(watched), count)
        yield watching
        stored = core.GaugeMetricFamily("apiserver_storage_objects", "Stored objects.", labels=["resource"])
        kinds = {it.storage: it for it in registry.kinds.values() if it not in REVIEWS | COMPUTED}
        for storage, kind in sorted(kinds.items()):
            stored.add_metric([kind.resource], len(registry.store.all(storage)))
        yield stored


def _summed(counted: list[float]) -> list[tuple[str, float]]:
    """Prometheus' buckets hold those below, too."""
    made, below = [], 0.0
    for most, count in zip([*(str(float(it)) for it in BUCKETS), "+Inf"], counted[:-1], strict=True):
        below += count
        made.append((most, below))
    return made


class _Page:
    """What prometheus_client collects from."""

    def __init__(self, counts: Counts, registry: Registry) -> None:
        self._counts, self._registry = counts, registry

    def collect(self) -> Iterator[Any]:
        return self._counts.families(self._registry)
