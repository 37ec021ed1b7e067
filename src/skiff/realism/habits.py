"""How do clients notice that a real API server is busy? Slow answers, 429, lost connections, watches that end, 410 Gone.

All of it is what the API concepts of Kubernetes tell clients to expect
(https://kubernetes.io/docs/reference/using-api/api-concepts/). The kubectl does not repeat a write whose connection was
lost, here as elsewhere, so its writes are spared that. Streams to containers are left alone: no client can repeat those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from skiff.apiserver.watching import LAST_WORDS, LONGEST
from skiff.errors import ApiError
from skiff.queries import truth
from skiff.realism import shapes
from skiff.realism.chance import Chance

_OPEN = ("/healthz", "/livez", "/readyz", "/version")
_READS = ("GET", "HEAD")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def habits(chance: Chance) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
    """The middleware that is put around everything else."""

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        streams = "Upgrade" in request.headers or request.path.endswith(("/log", "/proxy"))
        if streams or request.path.startswith(_OPEN):
            return await handler(request)
        return await _one(chance, request, handler)

    return around


async def _one(chance: Chance, request: web.Request, handler: Handler) -> web.StreamResponse:
    rates, key = chance.rates, f"{request.method} {request.path} {request.headers.get('User-Agent', '')}"
    may_reset = request.method in _READS or not request.headers.get("User-Agent", "").startswith("kubectl")
    if chance.happens("slow", rates.slow):
        await asyncio.sleep(chance.moment(rates.slow_s))
    if may_reset and chance.troubled(key, "reset before", rates.reset_before):
        return _abort(request)
    if chance.troubled(key, "overloaded", rates.overloaded):
        said = ApiError(
            429, "TooManyRequests", "too many requests, please try again later", {"retryAfterSeconds": 1}
        )
        return web.json_response(said.status(), status=429, headers={"Retry-After": "1"})
    watching = request.method == "GET" and truth(request, "watch")
    goes_on = "continue" in request.query or (
        watching and request.query.get("resourceVersion", "") not in ("", "0")
    )
    if goes_on and chance.troubled(key, "compacted", rates.compacted):
        said = ApiError(410, "Expired", "The resourceVersion for the provided list or watch is too old.")
        return web.json_response(said.status(), status=410)
    if watching:
        return await _watch(chance, request, handler, key)
    response = await handler(request)
    if may_reset and chance.troubled(key, "reset after", rates.reset_after):
        return _abort(request)
    chance.went_well(key)
    if isinstance(response, web.Response) and response.status < 400 and isinstance(response.body, bytes):
        _reshape(response)
    return response


def _reshape(response: web.Response) -> None:
    if response.content_type == "application/json" and response.body:
        response.body = msgspec.json.encode(shapes.real(msgspec.json.decode(response.body)))  # type: ignore[arg-type]


async def _watch(chance: Chance, request: web.Request, handler: Handler, key: str) -> web.StreamResponse:
    """A watch that ends before its time: in order, with 410, in the middle of a line, or without a word."""
    chance.went_well(key)
    until, how = chance.moment(chance.rates.watch_s), chance.one_of("ended", "expired", "cut", "dropped")
    chance.happened[f"watch {how}"] += 1
    if how != "dropped":
        request[LONGEST] = until
        request[LAST_WORDS] = {"ended": b"", "expired": _EXPIRED, "cut": _EXPIRED[:40]}[how]
        return await handler(request)
    try:
        async with asyncio.timeout(until):
            return await handler(request)
    except TimeoutError:
        return _abort(request)


_EXPIRED = (
    msgspec.json.encode({
        "type": "ERROR",
        "object": ApiError(410, "Expired", "The resourceVersion for the provided watch is too old.").status(),
    })
    + b"\n"
)  # fmt: skip


def _abort(request: web.Request) -> web.Response:
    """The connection is gone; nobody reads the answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
