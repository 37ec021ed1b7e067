"""Who calls whom, how often, how well, how fast? Read from the metrics that the sidecars themselves report."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp

from lateen.api import reading
from lateen.kube.errors import KubeError

if TYPE_CHECKING:
    from lateen.kube.client import KubeClient

_LINE = re.compile(r"^(\w+)\{(.*)\} ([0-9.eE+-]+|NaN)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
#: How the API server, or a pod behind it, does not answer.
UNANSWERED = (KubeError, aiohttp.ClientError, OSError, TimeoutError)


@dataclass(frozen=True, order=True)
class Edge:
    """A caller, the workload that answered, and its version."""

    source: str
    destination: str
    version: str = ""


@dataclass
class Flow:
    """What went over an edge since the proxies started. ``buckets``: cumulative counts by upper bound in ms."""

    requests: float = 0
    failures: float = 0
    mutual_tls: float = 0
    buckets: dict[float, float] = field(default_factory=lambda: defaultdict(float))

    def since(self, before: Flow | None) -> Flow:
        """What went over it after ``before``."""
        if before is None or before.requests > self.requests:
            return self
        buckets = {le: count - before.buckets.get(le, 0) for le, count in self.buckets.items()}
        return Flow(
            self.requests - before.requests,
            self.failures - before.failures,
            self.mutual_tls - before.mutual_tls,
            buckets,
        )

    def quantile_ms(self, q: float) -> float | None:
        """As Prometheus computes it: linear inside the bucket; None without samples.

        Proxies count requests at once, but histograms only every 5 s: requests without samples are usual.
        """
        bounds = sorted(self.buckets.items())
        total = bounds[-1][1] if bounds else 0
        if total <= 0:
            return None
        wanted, below, start = q * total, 0.0, 0.0
        for le, count in bounds:
            if count >= wanted:
                if le == float("inf"):
                    return start
                return start + (le - start) * ((wanted - below) / (count - below) if count > below else 1)
            below, start = count, le
        return start


Flows = Mapping[Edge, Flow]


def milliseconds(figure: float | None, digits: int = 0) -> str:
    """A latency as people read it; a dash for one that is not known."""
    return "–" if figure is None else f"{figure:.{digits}f} ms"


def flows(pages: Iterable[str], reporter: str = "destination") -> dict[Edge, Flow]:
    """Edges and flows of the Prometheus pages of all proxies, as one side reports them."""
    found: dict[Edge, Flow] = defaultdict(Flow)
    for page in pages:
        for line in page.splitlines():
            if line.startswith("istio_request") and (it := _LINE.match(line)):
                labels = dict(_LABEL.findall(it[2]))
                if labels.get("reporter") == reporter:
                    _count(found, it[1], labels, float(it[3]))
    return dict(found)


def _count(found: dict[Edge, Flow], name: str, labels: dict[str, str], value: float) -> None:
    edge = Edge(_short(labels.get("source_workload", "")), _short(labels.get("destination_workload", "")),
                labels.get("destination_version", ""))  # fmt: skip
    if name == "istio_requests_total":
        flow = found[edge]
        flow.requests += value
        flow.mutual_tls += value if labels.get("connection_security_policy") == "mutual_tls" else 0
        failed = labels.get("response_code", "0")[:1] in ("0", "5") or labels.get(
            "grpc_response_status", "0"
        ) not in ("0", "")
        flow.failures += value if failed else 0
    elif name == "istio_request_duration_milliseconds_bucket":
        found[edge].buckets[float(labels["le"].replace("+Inf", "inf"))] += value


def _short(workload: str) -> str:
    return workload if workload not in ("", "unknown") else "unknown"


def difference(now: Flows, before: Flows) -> dict[Edge, Flow]:
    """What happened between two readings."""
    changed = {edge: flow.since(before.get(edge)) for edge, flow in now.items()}
    return {edge: flow for edge, flow in changed.items() if flow.requests > 0}


def total(of: Flows) -> Flow:
    """All edges together."""
    whole = Flow()
    for it in of.values():
        whole.requests += it.requests
        whole.failures += it.failures
        whole.mutual_tls += it.mutual_tls
        for le, count in it.buckets.items():
            whole.buckets[le] += count
    return whole


async def pages(client: KubeClient, namespaces: Iterable[str]) -> list[str]:
    """The merged metrics of every sidecar and gateway of some namespaces; a pod that does not answer is left out."""

    async def one(namespace: str, pod: str) -> str:
        try:
            asked = client.pod_get(namespace, pod, 15020, "/stats/prometheus")
            return (await asyncio.wait_for(asked, 10)).decode()
        except UNANSWERED:
            return ""  # it may have gone since it was listed

    wanted = [
        (namespace, pod["metadata"]["name"])
        for namespace in namespaces
        for pod in await client.list("v1", "pods", namespace)
        if "sidecar.istio.io/status" in reading.texts(pod, "metadata", "annotations")
        and reading.text(pod, "status", "phase") == "Running"
    ]
    return await asyncio.gather(*(one(*it) for it in wanted))
