"""HTTP behind a door: aiohttp has no bounds on connections, on silence, or on half a request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web

from lateen.discovery.bounds import PAGES, Bounds
from lateen.discovery.doors import Door, Guest, Tls

#: No page takes longer; what reads slowly is not waited for.
PATIENCE_S = 60.0
_STOPPING_S = 1.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Served:
    """A running application."""

    door: Door
    port: int
    runner: web.AppRunner

    async def close(self) -> None:
        """Listen no more; requests under way have a moment."""
        await self.runner.cleanup()
        await self.door.close()


async def serve(
    app: web.Application, port: int, host: str = "0.0.0.0", *, tls: Tls | None = None, bounds: Bounds = PAGES
) -> Served:
    """Start on a port (0: any free one); whoever calls closes it."""
    door, guests = Door("https" if tls else "http", bounds), dict[Any, Guest]()
    app.middlewares.append(_counted(guests, bounds))
    # Who has left needs no answer, and is no longer worked for.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOPPING_S, handler_cancellation=True)
    await runner.setup()
    speaks = cast("Callable[[], asyncio.Protocol]", runner.server)

    def protocol(guest: Guest) -> asyncio.Protocol:
        made = speaks()
        for it in [known for known, guest in guests.items() if guest not in door.guests]:
            del guests[it]
        guests[made] = guest
        return made

    return Served(door, await door.open(port, protocol, tls, host), runner)


def _counted(guests: dict[Any, Guest], bounds: Bounds) -> Any:
    @web.middleware
    async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
        """A connection is idle while it owes us a request, to its last byte, and not while we owe it an answer."""
        guest = guests.get(request.protocol)
        if guest is None:
            return await handler(request)
        owed = 0

        def whole() -> None:
            nonlocal owed
            owed = 1
            guest.busy += 1

        guest.until = asyncio.get_running_loop().time() + bounds.first_s
        request.content.on_eof(whole)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await handler(request)
        except TimeoutError:
            return web.Response(status=504, text=f"no answer within {PATIENCE_S:g} s\n")
        finally:
            guest.busy -= owed
            if bounds.silent_s is not None:
                guest.until = asyncio.get_running_loop().time() + bounds.silent_s

    return counted
