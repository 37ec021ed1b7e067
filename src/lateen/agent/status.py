"""What is answered on port 15020? Health, the application's probes, metrics, and a few orders from within the pod."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from lateen.agent import probes
from lateen.agent.http import Request, Response
from lateen.agent.readiness import Readiness
from lateen.agent.rotation import Rotation, StepError
from lateen.agent.scraping import Scraping
from lateen.agent.settings import Settings
from lateen.agent.shared import Shared

_PROBED = ("/app-health/", "/app-lifecycle/")


class Status:
    """The pages; ``orders`` are what only the pod itself may ask for, by path."""

    def __init__(
        self, settings: Settings, readiness: Readiness, rotation: Rotation,
        orders: Mapping[str, Callable[[], Awaitable[None]]],
    ) -> None:  # fmt: skip
        self._settings, self._readiness, self._rotation = settings, readiness, rotation
        self._scraping = Scraping(settings)
        self._orders = orders
        self._probes: Shared[Response] = Shared()

    async def answer(self, request: Request) -> Response:
        """One page."""
        path = request.path.partition("?")[0]
        if path.startswith(_PROBED):
            return await self._probe(path, request)
        if path == "/healthz/ready":
            missing = await self._readiness.missing()
            return Response(503, missing.encode()) if missing else Response(200)
        if path in ("/stats/prometheus", "/metrics"):
            life = self._rotation.life
            return await self._scraping.page(request.headers, life.not_after if life else None)
        if path in ("/rotate", *self._orders):
            return await self._order(path, request)
        return Response(404, b"not found")

    async def _probe(self, path: str, request: Request) -> Response:
        probe = self._settings.probers.get(path)
        if not isinstance(probe, dict):
            return Response(404, b"the injector knew no such probe")
        # Who asks in crowds asks the application once.
        key = (path, *(request.headers.get(it) for it in probes.PASSED_ON))
        return await self._probes.get(key, lambda: probes.ask(probe, self._settings.address, request))

    async def _order(self, path: str, request: Request) -> Response:
        if not request.local:
            return Response(403, b"only from within the pod")
        if request.method != "POST":
            return Response(405, b"by POST", {"allow": "POST"})
        if path != "/rotate":
            await self._orders[path]()
            return Response(200, b"OK")
        try:
            life = await self._rotation.now()
        except StepError as wrong:
            return Response(503, str(wrong).encode())
        return Response(200, json.dumps(life._asdict()).encode(), {"content-type": "application/json"})
