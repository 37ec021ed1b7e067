"""When is an answer true? Once what it was made of is committed: no client hears of a write that a kill could undo."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from skiff.errors import ApiError
from skiff.store.store import Store

STORE = web.AppKey("store", Store)
#: Set for a request that shows only what is committed anyhow: it waits for nobody.
ONLY_READS = web.RequestKey("only_reads", bool)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def lasting(store: Store) -> AsyncIterator[None]:
    """What is done inside is committed afterwards, also when it ends with a refusal; 503 when it was undone."""
    mark = store.mark()
    try:
        yield
    except ApiError:  # it may say what nobody else knows yet: that there is such an object
        await store.settled(mark)
        raise
    await store.settled(mark)


@web.middleware
async def hold(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Hold back every answer, refusals too."""
    store = request.app[STORE]
    mark = store.mark()
    try:
        response = await handler(request)
    except ApiError:
        if not request.get(ONLY_READS):
            await store.settled(mark)
        raise
    if not response.prepared and not request.get(ONLY_READS):
        await store.settled(mark)
    return response
