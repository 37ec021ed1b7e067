"""How do several streams share one connection? By the first byte of a websocket's messages, or as streams of SPDY."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from skiff.streams import spdy, websocket
from skiff.streams.upgrade import RawWire

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_NAMES = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE}
#: A client has opened all of its streams by then, or never will.
_PATIENCE_S = 30.0
#: How long a client may take to leave once it was told how its command ended.
_LEAVING_S = 2.0


class WebSocketChannels:
    """The first byte of a message is its channel."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.response = socket

    async def send(self, channel: int, content: bytes) -> None:
        """To the client."""
        await self.response.send_bytes(bytes([channel]) + content)

    async def received(self) -> AsyncIterator[tuple[int, bytes]]:
        """Until the client leaves."""
        async for message in websocket.messages(self.response):
            if message:
                yield message[0], message[1:]

    async def close(self) -> None:
        """Nothing more is sent."""
        with contextlib.suppress(ConnectionError):
            await self.response.close()


class SpdyChannels:
    """A channel is a stream which the client opens and names in its headers. ``expected``: those that it will open."""

    def __init__(self, wire: RawWire, expected: frozenset[int]) -> None:
        self.response = wire.response
        self._expected = expected
        self._wire, self._codec = wire, spdy.Codec()
        self._streams: dict[int, int] = {}  # by channel
        self._opened = asyncio.Condition()

    async def send(self, channel: int, content: bytes) -> None:
        """To the client, once it has opened the channel. What is said on the error channel is the last."""
        stream = await self._stream(channel)
        if channel == ERROR and content:
            for it in self._expected:  # a client that is still opening streams would hear nothing but an end
                await self._stream(it)
            others = [it for other, it in self._streams.items() if other in (STDOUT, STDERR)]
            ends = b"".join(spdy.data(it, b"", last=True) for it in others)
            await self._wire.send(spdy.data(stream, content, last=True) + ends)
        elif content:
            await self._wire.send(spdy.data(stream, content))

    async def _stream(self, channel: int) -> int:
        async with self._opened:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self._opened.wait_for(lambda: channel in self._streams)
            except TimeoutError as late:
                raise ConnectionAbortedError("the client has not opened all of its streams") from late
            return self._streams[channel]

    async def received(self) -> AsyncIterator[tuple[int, bytes]]:
        """Until the client leaves."""
        with contextlib.suppress(spdy.BrokenError):
            async for piece in self._wire.received():
                for frame in self._codec.feed(piece):
                    for it in await self._understood(frame):
                        yield it

    async def _understood(self, frame: spdy.Frame) -> list[tuple[int, bytes]]:
        match frame:
            case spdy.Opened(stream, headers):
                channel = _NAMES.get(headers.get("streamtype", ""))
                if channel is None:
                    await self._wire.send(spdy.reset(stream, spdy.REFUSED))
                    return []
                await self._wire.send(self._codec.reply(stream))
                async with self._opened:
                    self._streams[channel] = stream
                    self._opened.notify_all()
            case spdy.Data(stream, content, last):
                channel = next((it for it, other in self._streams.items() if other == stream), -1)
                if channel >= 0:
                    said = [(channel, content)] if content else []
                    return [*said, (CLOSE, bytes([channel]))] if last else said
            case spdy.Ping(number):
                await self._wire.send(spdy.ping(number))
        return []

    async def close(self) -> None:
        """Nothing more is sent. The client leaves first: closing with something unread throws away what it has not read."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVING_S):
                async for _ in self._wire.received():
                    pass
        await self._wire.close()
