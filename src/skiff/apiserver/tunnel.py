"""How does a client keep one connection with a program in a pod? ``Upgrade`` through the proxy: websockets, SPDY, whatever.

The change of protocol is agreed between both ends; from then on bytes are passed on as they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

from aiohttp import web
from multidict import CIMultiDict

from skiff.apiserver.reaching import Target, unreachable
from skiff.streams.upgrade import RawWire

_PIECE = 64 * 1024
#: Of a program that does not change its protocol: so much of its answer is told, and waited for so long.
_MOST, _PATIENCE_S = 1024 * 1024, 30.0
_NOT_TAKEN = {"connection", "transfer-encoding", "content-length", "keep-alive"}


def wanted(request: web.Request) -> bool:
    """Whether the client asks for another protocol."""
    said = {it.strip().lower() for text in request.headers.getall("Connection", ()) for it in text.split(",")}
    return "upgrade" in said and "Upgrade" in request.headers


async def serve(
    request: web.Request, outlet: socket.socket, target: Target, headers: CIMultiDict[str]
) -> web.StreamResponse:
    """Ask the pod to change; when it does, both ends are joined until one of them leaves."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reader, writer = await _connected(outlet, target)
    except (OSError, TimeoutError) as wrong:
        outlet.close()
        raise unreachable(target, wrong) from wrong
    try:
        async with asyncio.timeout(_PATIENCE_S):
            writer.write(_head(request, target, headers))
            await writer.drain()
            status, said = _understood(await reader.readuntil(b"\r\n\r\n"))
            if status != 101:
                return await _refused(reader, status, said)
        response = web.StreamResponse(status=101, headers=said)
        wire = RawWire(request, response)
        request.protocol.set_parser(wire)  # type: ignore[arg-type]  # it asks of a parser what RawWire has
        await response.prepare(request)
        await _joined(wire, reader, writer)
        return response
    except (
        OSError,
        TimeoutError,
        asyncio.IncompleteReadError,
        asyncio.LimitOverrunError,
        ValueError,
    ) as wrong:
        raise unreachable(target, wrong) from wrong
    finally:
        writer.close()


async def _connected(
    outlet: socket.socket, target: Target
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    await asyncio.get_running_loop().sock_connect(outlet, (target.host, target.port))
    if target.scheme != "https":
        return await asyncio.open_connection(sock=outlet)
    trusting = ssl.create_default_context()  # a pod's certificate is its own affair, as in Kubernetes
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    return await asyncio.open_connection(sock=outlet, ssl=trusting, server_hostname=target.host)


def _head(request: web.Request, target: Target, headers: CIMultiDict[str]) -> bytes:
    query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
    lines = [f"{request.method} {target.path or '/'}{query} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Upgrade: {it}" for it in request.headers.getall("Upgrade")]
    return "\r\n".join([*lines, "Connection: Upgrade", "", ""]).encode(errors="surrogateescape")


def _understood(head: bytes) -> tuple[int, CIMultiDict[str]]:
    first, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    parts = first.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdecimal():
        raise ValueError(f"it does not speak HTTP: {first[:100]!r}")
    found: CIMultiDict[str] = CIMultiDict()
    for line in rest:
        name, _, value = line.partition(":")
        found.add(name.strip(), value.strip())
    return int(parts[1]), found


async def _refused(reader: asyncio.StreamReader, status: int, said: CIMultiDict[str]) -> web.Response:
    """What the pod says instead."""
    length = said.get("Content-Length", "")
    most = min(int(length), _MOST) if length.isdecimal() else _MOST
    content = b""
    while len(content) < most and (piece := await reader.read(min(_PIECE, most - len(content)))):
        content += piece
    headers = [(name, value) for name, value in said.items() if name.lower() not in _NOT_TAKEN]
    return web.Response(status=status, body=content, headers=CIMultiDict(headers))


async def _joined(wire: RawWire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def there() -> None:
        async for piece in wire.received():
            writer.write(piece)
            await writer.drain()

    async def back() -> None:
        while piece := await reader.read(_PIECE):
            await wire.send(piece)

    ways = [asyncio.ensure_future(there()), asyncio.ensure_future(back())]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for it in ways:
            it.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            await wire.close()
