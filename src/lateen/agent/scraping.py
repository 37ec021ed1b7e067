"""Who is asked when Prometheus asks the agent? Envoy and the application; one that is broken does not break the page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from lateen import __version__
from lateen.agent import admin, http, metrics
from lateen.agent.http import Endpoint, Response
from lateen.agent.metrics import Family
from lateen.agent.settings import Settings

_log = logging.getLogger("metrics")

#: What Prometheus says of its patience is believed up to a minute, and what is no time at all is not.
_TIMEOUT_S, _LONGEST_S, _MARGIN = 10.0, 60.0, 0.8
_ACCEPT = "text/plain;version=0.0.4;q=0.9,*/*;q=0.1"
_KIND = "text/plain; version=0.0.4; charset=utf-8"


class Scraping:
    """Counts what was asked and what failed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asked = 0
        self._failed = {"envoy": 0, "application": 0}

    async def page(self, headers: Mapping[str, str], not_after: float | None) -> Response:
        """The page for Prometheus, within the time that it gives."""
        patience_s = _patience_s(headers.get("x-prometheus-scrape-timeout-seconds", ""))
        self._asked += 1
        envoys, applications = await asyncio.gather(self._envoy(patience_s), self._application(patience_s))
        own = self._own(not_after)
        return Response(200, metrics.written(own, envoys, applications), {"content-type": _KIND})

    async def _envoy(self, patience_s: float) -> list[Family]:
        it = self._settings
        try:
            text = await admin.get(it.proxy.admin_port, "/stats/prometheus", patience_s)
            return list(metrics.expanded(text, it.workload, str(it.identity)))
        except (OSError, ValueError) as wrong:
            self._failed["envoy"] += 1
            _log.warning("Envoy's statistics cannot be read: %s", wrong or type(wrong).__name__)
            return []

    async def _application(self, patience_s: float) -> list[Family]:
        if (scrape := self._settings.scrape) is None:
            return []
        try:
            answer = await http.fetch(
                Endpoint("127.0.0.1", scrape.port), scrape.path, headers={"accept": _ACCEPT}, timeout_s=patience_s
            )  # fmt: skip
            if answer.status != 200:
                raise http.ProtocolError(f"it answers {answer.status}")
            return metrics.families(answer.body.decode(errors="replace"))
        except (OSError, ValueError) as wrong:
            self._failed["application"] += 1
            _log.warning("the application's metrics are left out: %s", wrong or type(wrong).__name__)
            return []

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
