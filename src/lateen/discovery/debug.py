"""What does the control plane know? Pages for the command line, for dashboards and for probes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from lateen import __version__
from lateen.discovery.server import DiscoveryService
from lateen.discovery.source import Source


@dataclass(frozen=True)
class Pages:
    """Whom the pages ask."""

    service: DiscoveryService
    source: Source
    ready: Callable[[], bool]


_PAGES = web.AppKey("pages", Pages)


def application(pages: Pages) -> web.Application:
    """``/ready``, ``/metrics``, ``/version`` and ``/debug/...``."""
    app = web.Application()
    app[_PAGES] = pages
    for path, page in (
        ("/ready", _ready), ("/metrics", _metrics), ("/version", _version), ("/debug/syncz", _syncz),
        ("/debug/problems", _problems), ("/debug", _index),
    ):  # fmt: skip
        app.router.add_get(path, page)
    return app


async def _ready(request: web.Request) -> web.Response:
    ready = request.app[_PAGES].ready()
    return web.Response(
        status=200 if ready else 503, text="ready\n" if ready else "not yet in sync with Kubernetes\n"
    )


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _version(_: web.Request) -> web.Response:
    return web.json_response({"version": __version__, "component": "pilot"})


async def _syncz(request: web.Request) -> web.Response:
    now = time.time()
    found: list[dict[str, Any]] = [it.standing(now) for it in request.app[_PAGES].service.connections]
    return web.json_response(sorted(found, key=lambda it: str(it["proxy"])))


async def _problems(request: web.Request) -> web.Response:
    return web.json_response([it._asdict() for it in request.app[_PAGES].source.problems.values()])


async def _index(request: web.Request) -> web.Response:
    routes: set[str] = {it.canonical for it in request.app.router.resources()}
    return web.json_response(sorted(routes))


async def serve(app: web.Application, port: int, **how: Any) -> web.AppRunner:
    """Start on all addresses; the caller cleans up."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port, **how).start()
    return runner


Stop = Callable[[], Awaitable[None]]
