"""Who is asked when Prometheus asks the agent? Envoy and the application; one that is broken does not break the page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from lateen import __version__
from lateen.agent import admin, http, metrics
from lateen.agent.http import Endpoint, Response
from lateen.agent.metrics import Family
from lateen.agent.settings import Settings
from lateen.agent.shared import Shared

_log = logging.getLogger("metrics")

#: What Prometheus says of its patience is believed up to a minute, and what is no time at all is not.
_TIMEOUT_S, _LONGEST_S, _MARGIN = 10.0, 60.0, 0.8
_ACCEPT = "text/plain;version=0.0.4;q=0.9,*/*;q=0.1"
_KIND = "text/plain; version=0.0.4; charset=utf-8"
#: What was read is shown again for this long, and as long as reading it took: half of the time is for others.
_FRESH_S = 0.5


class _Source:
    """Envoy or the application: read once for all who ask meanwhile, and not at once again."""

    def __init__(self, read: Callable[[], Awaitable[list[Family]]]) -> None:
        self._read = read
        self._now: Shared[list[Family]] = Shared()
        self._last: list[Family] = []
        self._fresh_until = 0.0

    async def families(self, patience_s: float) -> list[Family]:
        """What it shows; OSError (TimeoutError is one), ValueError."""
        if asyncio.get_running_loop().time() < self._fresh_until:
            return self._last
        async with asyncio.timeout(patience_s):
            return await self._now.get("", self._fresh)

    async def _fresh(self) -> list[Family]:
        clock = asyncio.get_running_loop().time
        begun = clock()
        self._last = await self._read()
        ended = clock()
        self._fresh_until = ended + max(_FRESH_S, ended - begun)
        return self._last


class Scraping:
    """Counts what was asked and what failed. Pages are long: they are taken apart and written beside the loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asked = 0
        self._failed = {"envoy": 0, "application": 0}
        self._sources = {"envoy": _Source(self._envoy), "application": _Source(self._application)}

    async def page(self, headers: Mapping[str, str], not_after: float | None) -> Response:
        """The page for Prometheus, within the time that it gives."""
        patience_s = _patience_s(headers.get("x-prometheus-scrape-timeout-seconds", ""))
        self._asked += 1
        found = await asyncio.gather(*(self._shown(it, patience_s) for it in self._sources))
        body = await asyncio.to_thread(metrics.written, self._own(not_after), *found)
        return Response(200, body, {"content-type": _KIND})

    async def _shown(self, source: str, patience_s: float) -> list[Family]:
        try:
            return await self._sources[source].families(patience_s)
        except (OSError, ValueError) as wrong:
            self._failed[source] += 1
            _log.warning("the metrics of the %s are left out: %s", source, wrong or type(wrong).__name__)
            return []

    async def _envoy(self) -> list[Family]:
        it = self._settings
        text = await admin.get(it.proxy.admin_port, "/stats/prometheus", _LONGEST_S)
        return await asyncio.to_thread(lambda: list(metrics.expanded(text, it.workload, str(it.identity))))

    async def _application(self) -> list[Family]:
        if (scrape := self._settings.scrape) is None:
            return []
        answer = await http.fetch(
            Endpoint("127.0.0.1", scrape.port), scrape.path, headers={"accept": _ACCEPT}, timeout_s=_LONGEST_S
        )  # fmt: skip
        if answer.status != 200:
            raise http.ProtocolError(f"it answers {answer.status}")
        return await asyncio.to_thread(lambda: metrics.families(answer.body.decode(errors="replace")))

    def _own(self, not_after: float | None) -> list[Family]:
        build = metrics.labels({"component": "agent", "tag": __version__})
        failed = {metrics.labels({"type": name}): float(count) for name, count in self._failed.items()}
        own = [
            metrics.family("istio_build", "gauge", "Version of this component.", {build: 1.0}),
            metrics.family(
                "istio_agent_scrapes_total", "counter", "Pages shown to Prometheus.", {"": float(self._asked)}
            ),
            metrics.family(
                "istio_agent_scrape_failures_total", "counter", "Sources that could not be read.", failed
            ),
        ]
        if not_after is not None:
            named = metrics.labels({"resource_name": "default"})
            help_ = "When the certificate ends, in seconds since 1970."
            own.append(
                metrics.family(
                    "istio_agent_cert_expiry_timestamp_seconds", "gauge", help_, {named: not_after}
                )
            )
        return own


def _patience_s(said: str) -> float:
    try:
        seconds = float(said)
    except ValueError:
        return _TIMEOUT_S
    return seconds * _MARGIN if 0 < seconds <= _LONGEST_S else _TIMEOUT_S
