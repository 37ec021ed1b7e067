"""What does the control plane know? Pages for the command line, for dashboards and for probes; Istio's paths.

What is under ``/debug`` would tell a pod everything about the others: as Istio, it is for who asks from within our own
pod, which a port-forward does for whoever may make one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from lateen import __version__
from lateen.discovery.connections import Connection
from lateen.discovery.loop import Loop
from lateen.discovery.server import DiscoveryService
from lateen.discovery.shown import config_dump, endpoints, registry
from lateen.discovery.source import Source
from lateen.names.problems import Problem
from lateen.observe import metrics
from lateen.policy.problems import looks, problems
from lateen.registry import services


@dataclass(frozen=True)
class Pages:
    """Whom the pages ask."""

    loop: Loop
    service: DiscoveryService
    source: Source
    ready: Callable[[], bool]
    alive: Callable[[], str] = str  # what has stopped; empty while everything moves


_PAGES = web.AppKey("pages", Pages)
#: So long a page holds the loop before others have their turn.
_TURN_S = 0.02
_OURSELVES = ("127.0.0.1", "::1")


def application(pages: Pages) -> web.Application:
    """``/ready``, ``/metrics``, ``/version`` and ``/debug/...``."""
    app = web.Application(middlewares=[_guarded])
    app[_PAGES] = pages
    for path, page in (
        ("/ready", _ready), ("/live", _live), ("/metrics", _metrics), ("/version", _version), ("/debug/syncz", _syncz),
        ("/debug/connections", _connections), ("/debug/registryz", _registryz), ("/debug/endpointz", _endpointz),
        ("/debug/config_dump", _config_dump), ("/debug/problems", _problems), ("/debug", _index),
    ):  # fmt: skip
        app.router.add_get(path, page)
    return app


@web.middleware
async def _guarded(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.path.startswith("/debug") and request.remote not in _OURSELVES:
        return web.Response(status=403, text="only from within this pod: use kubectl port-forward\n")
    return await handler(request)


async def _ready(request: web.Request) -> web.Response:
    pages = request.app[_PAGES]
    if pages.ready():
        return web.Response(text="ready\n")
    refused = pages.source.unreadable()
    awaited = [f"{it} ({refused[it]})" if it in refused else it for it in pages.source.awaited()]
    return web.Response(
        status=503, text=f"not yet in sync with Kubernetes: waiting for {', '.join(awaited) or 'proxies'}\n"
    )


async def _live(request: web.Request) -> web.Response:
    """That this answers at all says that the loop turns; whether the mesh's changes still get through, is asked."""
    if stopped := request.app[_PAGES].alive():
        return web.Response(status=500, text=f"{stopped}\n")
    return web.Response(text="live\n")


async def _metrics(request: web.Request) -> web.Response:
    db = request.app[_PAGES].loop.db
    with db.peeking():
        metrics.SERVICES.set(len(services.keys(db)))
    return web.Response(body=metrics.exposed(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _version(_: web.Request) -> web.Response:
    return web.Response(text=f"{__version__}\n")


async def _syncz(request: web.Request) -> web.Response:
    now = time.time()
    found = [it.standing(now) for it in request.app[_PAGES].service.connections]
    return web.json_response(sorted(found, key=lambda it: str(it["proxy"])))


async def _connections(request: web.Request) -> web.Response:
    shown = [
        {"connectionId": str(it.proxy.key), "address": it.proxy.ip, "connectedAt": _moment(it.since)}
        for it in request.app[_PAGES].service.connections
    ]
    return web.json_response({"totalClients": len(shown), "clients": shown})


async def _registryz(request: web.Request) -> web.Response:
    db = request.app[_PAGES].loop.db
    with db.peeking():
        return web.json_response(registry(db))


async def _endpointz(request: web.Request) -> web.Response:
    db = request.app[_PAGES].loop.db
    with db.peeking():
        return web.json_response(endpoints(db))


async def _config_dump(request: web.Request) -> web.Response:
    """What the proxy should have, in the form of its own ``/config_dump``."""
    wanted = request.query.get("proxyID", "")
    found = [it for it in request.app[_PAGES].service.connections if wanted and _means(wanted, it)]
    if not wanted:
        return web.Response(status=400, text="name a proxy: /debug/config_dump?proxyID=POD.NAMESPACE\n")
    if not found:
        return web.Response(status=404, text=f'no proxy "{wanted}" is connected to this control plane\n')
    view = request.app[_PAGES].loop.view(found[0].proxy.key)
    if view is None:
        return web.Response(status=503, text="its view could not be computed: see the log\n")
    # Sorted: maps inside messages have another order in every process.
    return web.json_response(config_dump(view), dumps=lambda it: json.dumps(it, sort_keys=True))


def _means(wanted: str, it: Connection) -> bool:
    return wanted in (it.name, it.proxy.pod, str(it.proxy.key))


async def _problems(request: web.Request) -> web.Response:
    source, between = request.app[_PAGES].source, await _between(request.app[_PAGES].loop)
    found: list[dict[str, Any]] = [one._asdict() for _, it in sorted(source.problems.items()) for one in it]
    found += [one._asdict() for one in between]
    refused = [{"kind": kind, "message": said} for kind, said in sorted(source.unreadable().items())]
    return web.json_response({"objects": found, "kinds": refused})


async def _between(loop: Loop) -> tuple[Problem, ...]:
    """What is wrong between objects; nothing while half of them are not known yet. Views have their turn meanwhile."""
    if not loop.synced.is_set():
        return ()
    begun = time.monotonic()
    for _ in looks(loop.db):
        if time.monotonic() - begun > _TURN_S:
            await asyncio.sleep(0)
            begun = time.monotonic()
    return problems(loop.db)


async def _index(request: web.Request) -> web.Response:
    routes: set[str] = {it.canonical for it in request.app.router.resources()}
    return web.json_response(sorted(routes))


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
