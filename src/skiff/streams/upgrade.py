"""How does a client change to SPDY? Inside a websocket, as kubectl does today, or instead of HTTP, as other Go programs do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

from aiohttp import web

from skiff.errors import ApiError
from skiff.streams import websocket

SPDY = "SPDY/3.1"
_VERSIONS = "X-Stream-Protocol-Version"
#: Pieces that wait to be taken before the client is no longer read.
_WAITING = 64


class Wire(Protocol):
    """Bytes in both directions."""

    async def send(self, content: bytes) -> None: ...
    def received(self) -> AsyncIterator[bytes]: ...
    async def close(self) -> None: ...


def is_spdy(request: web.Request) -> bool:
    """Whether the client wants SPDY instead of HTTP."""
    return request.headers.get("Upgrade", "").lower() == SPDY.lower()


class WebSocketWire:
    """Each message is a piece of what is sent."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.response = socket

    async def send(self, content: bytes) -> None:
        """To the client."""
        await self.response.send_bytes(content)

    def received(self) -> AsyncIterator[bytes]:
        """Until the client leaves."""
        return websocket.messages(self.response)

    async def close(self) -> None:
        """Nothing more is sent."""
        with contextlib.suppress(ConnectionError):
            await self.response.close()


class RawWire:
    """The connection itself, taken from aiohttp (as its websockets do: ``RequestHandler.set_parser``)."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self.response = response
        self._request = request
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._over = False  # the client has left, and somebody heard it

    def feed_data(self, content: bytes) -> tuple[bool, bytes]:
        """Called by aiohttp: (whether it is over, what is left)."""
        self._pieces.put_nowait(bytes(content))
        if self._pieces.qsize() > _WAITING and (transport := self._request.transport):
            # Not by aiohttp's protocol: it would pause its parser of HTTP, too, which asserts that it has a message.
            transport.pause_reading()
        return False, b""

    def feed_eof(self) -> None:
        """Called by aiohttp when the client has left."""
        self._pieces.put_nowait(None)

    async def send(self, content: bytes) -> None:
        """To the client."""
        await self.response.write(content)

    async def received(self) -> AsyncIterator[bytes]:
        """Until the client leaves."""
        while not self._over:
            piece = await self._pieces.get()
            if piece is None:
                self._over = True
                return
            yield piece
            if self._pieces.qsize() <= _WAITING // 2 and (transport := self._request.transport):
                transport.resume_reading()

    async def close(self) -> None:
        """The connection ends: there is no way back to HTTP."""
        self.response.force_close()
        if self._request.transport is not None:
            self._request.transport.close()


async def upgraded(request: web.Request, known: tuple[str, ...]) -> RawWire:
    """The connection after the change; 400 when none of the client's versions of what it wants is known."""
    wanted = [it.strip() for text in request.headers.getall(_VERSIONS, []) for it in text.split(",")]
    chosen = next((it for it in known if it in wanted), None)
    if chosen is None:
        raise ApiError(
            400, "BadRequest", f"unable to upgrade: none of {wanted} is spoken here: {list(known)}"
        )
    headers = {"Connection": "Upgrade", "Upgrade": SPDY, _VERSIONS: chosen}
    response = web.StreamResponse(status=101, headers=headers)
    wire = RawWire(request, response)
    request.protocol.set_parser(wire)  # type: ignore[arg-type]  # it asks of a parser what RawWire has
    await response.prepare(request)
    return wire
