"""How does a client reach a port inside a pod? Port-forward by SPDY for kubectl, by plain channels for others.

kubectl (``SPDY/3.1+portforward.k8s.io``, in a websocket) and other Go programs (SPDY without one) open two streams for
every connection: one for errors, one for data. Python clients (``v4.channel.k8s.io``, or nothing) name the ports in the
query and get two channels for each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from skiff.api import Node
from skiff.errors import ApiError
from skiff.streams import spdy, upgrade, websocket

TUNNEL, CHANNELS, PLAIN = "SPDY/3.1+portforward.k8s.io", "v4.channel.k8s.io", "portforward.k8s.io"
_READ = 64 * 1024
_Send = Callable[[bytes], Awaitable[None]]
#: Frames that wait for one connection before the client is no longer listened to.
_WAITING = 64
#: Connections of one client at a time, and ports of one that has two channels for each: a byte names the channel.
_MOST_CONNECTIONS, _MOST_PORTS = 512, 100


async def serve(request: web.Request, node: Node, namespace: str, pod: str) -> web.StreamResponse:
    """Forward until the client leaves."""
    if upgrade.is_spdy(request):
        raw = await upgrade.upgraded(request, (PLAIN,))
        await _Tunnel(raw, node, namespace, pod).run()
        return raw.response
    if TUNNEL in websocket.offered(request):
        wire = upgrade.WebSocketWire(await websocket.opened(request, (TUNNEL,)))
        await _Tunnel(wire, node, namespace, pod).run()
        return wire.response
    ports = _ports(request)
    socket = await websocket.opened(request, (CHANNELS,))
    await _Channels(socket, node, namespace, pod, ports).run()
    return socket


def _ports(request: web.Request) -> list[int]:
    given = [it for text in request.query.getall("ports", []) for it in text.split(",") if it]
    if not given:
        raise ApiError(400, "BadRequest", 'query parameter "ports" is required')
    if not all(map(_is_port, given)) or len(given) > _MOST_PORTS:
        raise ApiError(
            400, "BadRequest", f"unable to parse {str(given)[:200]} as at most {_MOST_PORTS} ports"
        )
    return [int(it) for it in given]


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536


def _refusal(pod: str, port: int, wrong: Exception) -> str:
    """In the words of a container runtime: kubectl prints them."""
    why = wrong.message if isinstance(wrong, ApiError) else str(wrong) or type(wrong).__name__
    return f"error forwarding port {port} to pod {pod}: failed to connect to localhost:{port} inside its namespace: {why}"


@dataclass
class _Connection:
    """One connection of kubectl's."""

    errors: int = 0
    stream: int = 0
    port: int = 0
    incoming: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(_WAITING))


class _Tunnel:
    """Connections by SPDY."""

    def __init__(self, wire: upgrade.Wire, node: Node, namespace: str, pod: str) -> None:
        self._wire, self._node, self._namespace, self._pod = wire, node, namespace, pod
        self._codec = spdy.Codec()
        self._waiting: dict[str, _Connection] = {}  # by kubectl's number of the request
        self._open: dict[int, tuple[_Connection, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Until the client leaves."""
        try:
            async for piece in self._wire.received():
                for frame in self._codec.feed(piece):
                    await self._take(frame)
        except (ConnectionError, spdy.BrokenError):
            pass
        finally:
            tasks = [task for _, task in self._open.values()]
            for it in tasks:
                it.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._wire.close()

    async def _take(self, frame: spdy.Frame) -> None:
        match frame:
            case spdy.Opened():
                await self._opened(frame)
            case spdy.Data(stream, content, last):
                if found := self._open.get(stream):
                    if content:
                        await found[0].incoming.put(content)
                    if last:
                        await found[0].incoming.put(None)
            case spdy.Reset(stream):
                if found := self._open.pop(stream, None):
                    found[1].cancel()
            case spdy.Ping(number):
                await self._wire.send(spdy.ping(number))
            case spdy.GoAway():
                return

    async def _opened(self, frame: spdy.Opened) -> None:
        key = frame.headers.get("requestid", "")
        kind, port = frame.headers.get("streamtype", ""), frame.headers.get("port", "")
        full = len(self._waiting) + len(self._open) >= _MOST_CONNECTIONS
        if kind not in ("error", "data") or not _is_port(port) or (full and key not in self._waiting):
            await self._wire.send(spdy.reset(frame.stream, spdy.REFUSED))
            return
        await self._wire.send(self._codec.reply(frame.stream))
        it = self._waiting.setdefault(key, _Connection())
        it.port = int(port)
        if kind == "error":
            it.errors = frame.stream
        else:
            it.stream = frame.stream
        if it.errors and it.stream:
            del self._waiting[key]
            task = asyncio.ensure_future(self._forward(it))
            self._open[it.stream] = (it, task)

    async def _forward(self, it: _Connection) -> None:
        said = b""
        try:
            reader, writer = await self._node.dial(self._namespace, self._pod, it.port)
        except (OSError, TimeoutError, ApiError) as wrong:
            said = _refusal(self._pod, it.port, wrong).encode()
        else:
            await _both(reader, writer, it.incoming, lambda content: self._send(it.stream, content))
        with contextlib.suppress(ConnectionError):
            await self._wire.send(
                spdy.data(it.errors, said, last=True) + spdy.data(it.stream, b"", last=True)
            )
        self._open.pop(it.stream, None)

    async def _send(self, stream: int, content: bytes) -> None:
        await self._wire.send(spdy.data(stream, content))


class _Channels:
    """Two channels for each port: bytes, and what went wrong. Each begins with the port's number."""

    def __init__(
        self, socket: web.WebSocketResponse, node: Node, namespace: str, pod: str, ports: list[int]
    ) -> None:
        self._socket, self._node, self._namespace, self._pod, self._ports = (
            socket,
            node,
            namespace,
            pod,
            ports,
        )
        self._incoming: list[asyncio.Queue[bytes | None]] = [asyncio.Queue(_WAITING) for _ in ports]

    async def run(self) -> None:
        """Until the client leaves, or all connections have ended."""
        for n, port in enumerate(self._ports):
            for channel in (2 * n, 2 * n + 1):
                await self._socket.send_bytes(bytes([channel]) + port.to_bytes(2, "little"))
        forwards = [asyncio.ensure_future(self._forward(n, port)) for n, port in enumerate(self._ports)]
        hears = asyncio.ensure_future(self._hear())
        everything = asyncio.ensure_future(_all(forwards))
        try:
            await asyncio.wait({hears, everything}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for it in (hears, everything, *forwards):
                it.cancel()
            await asyncio.gather(hears, everything, return_exceptions=True)
            with contextlib.suppress(ConnectionError):
                await self._socket.close()

    async def _hear(self) -> None:
        async for message in websocket.messages(self._socket):
            if len(message) > 1 and message[0] % 2 == 0 and message[0] // 2 < len(self._ports):
                await self._incoming[message[0] // 2].put(message[1:])

    async def _forward(self, n: int, port: int) -> None:
        async def send(content: bytes) -> None:
            await self._socket.send_bytes(bytes([2 * n]) + content)

        try:
            reader, writer = await self._node.dial(self._namespace, self._pod, port)
        except (OSError, TimeoutError, ApiError) as wrong:
            said = _refusal(self._pod, port, wrong)
            with contextlib.suppress(ConnectionError):
                await self._socket.send_bytes(bytes([2 * n + 1]) + said.encode())
            return
        await _both(reader, writer, self._incoming[n], send)


async def _both(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, incoming: asyncio.Queue[bytes | None], send: _Send
) -> None:  # fmt: skip
    """Copy in both directions until the pod's side has said all."""

    async def inward() -> None:
        async for content in _parts(incoming):
            writer.write(content)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    entering = asyncio.ensure_future(inward())
    try:
        while content := await reader.read(_READ):
            await send(content)
    except ConnectionError:
        pass  # either side is gone: the other one is told by what follows
    finally:
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        writer.close()


async def _all(tasks: Sequence[asyncio.Future[None]]) -> None:
    await asyncio.gather(*tasks)


async def _parts(incoming: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    while (content := await incoming.get()) is not None:
        yield content
