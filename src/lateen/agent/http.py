"""How does the agent speak HTTP/1.1? A server and a client, one request a connection, each within limits."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

_log = logging.getLogger("http")

_LARGEST_HEAD = 32 * 1024
_LARGEST_BODY = 32 * 1024 * 1024
_LARGEST_REQUEST = 64 * 1024
_PATIENCE_S = 30.0
_AT_ONCE = 128


class Request(NamedTuple):
    """What someone asks; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    peer: str

    @property
    def local(self) -> bool:
        """Whether it was asked from within the pod. 127.0.0.6 is Envoy, who may be speaking for someone outside."""
        return self.peer == "127.0.0.1"


class Response(NamedTuple):
    """What is answered; header names are in lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class ProtocolError(OSError):
    """The other side does not speak HTTP."""


Handler = Callable[[Request], Awaitable[Response]]


async def serve(handler: Handler, port: int, host: str = "0.0.0.0") -> asyncio.Server:
    """Answer until closed. The handler bounds its own time; what it raises is a bug, and its asker sees 500."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with turns:
                await _exchange(reader, writer, handler)
        except (OSError, ValueError, EOFError):
            pass  # the asker left, or was not one
        finally:
            writer.close()

    return await asyncio.start_server(connected, host, port, limit=_LARGEST_HEAD, backlog=256)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        request = await _request(reader, str(writer.get_extra_info("peername")[0]))
    try:
        response = await handler(request)
    except Exception:  # noqa: BLE001 - one broken page must not end the agent
        _log.exception("a bug while answering %s", request.path)
        response = Response(500, b"a bug in the agent; its log says more")
    async with asyncio.timeout(_PATIENCE_S):
        writer.write(_written(request, response))
        await writer.drain()


async def _request(reader: asyncio.StreamReader, peer: str) -> Request:
    first, headers = await _head(reader)
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise ProtocolError("no HTTP/1.1 request")
    size = int(headers.get("content-length", "0"))
    if size > _LARGEST_REQUEST:
        raise ProtocolError("the request is too large")
    await reader.readexactly(size)
    return Request(words[0], words[1], headers, peer)


def _written(request: Request, response: Response) -> bytes:
    try:
        reason = HTTPStatus(response.status).phrase
    except ValueError:
        reason = "Unknown"
    headers = {
        "content-type": "text/plain; charset=utf-8", **response.headers, "content-length": str(len(response.body)),
        "connection": "close",
    }  # fmt: skip
    lines = [f"HTTP/1.1 {response.status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    return head if request.method == "HEAD" else head + response.body


class Endpoint(NamedTuple):
    """Where to ask: a literal address, from which of our own, and by TLS without a look at the certificate."""

    address: str
    port: int
    source: str = ""
    tls: bool = False


async def connect(to: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection; the caller bounds the time."""
    context = None
    if to.tls:
        context = ssl.SSLContext(
            ssl.PROTOCOL_TLS_CLIENT
        )  # without the machine's authorities: nobody is verified
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    local = (to.source, 0) if to.source else None
    return await asyncio.open_connection(
        to.address, to.port, local_addr=local, ssl=context, limit=_LARGEST_HEAD
    )


async def fetch(
    to: Endpoint, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, timeout_s: float = 5.0
) -> Response:  # fmt: skip
    """The whole answer; OSError (TimeoutError and ProtocolError are such) when there is none."""
    sent = {"host": f"{to.address}:{to.port}", "accept": "*/*", **(headers or {}), "connection": "close"}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    async with asyncio.timeout(timeout_s):
        reader, writer = await connect(to)
        try:
            writer.write("\r\n".join([*lines, "content-length: 0", "", ""]).encode("latin-1", "replace"))
            await writer.drain()
            return await _response(reader, method)
        except (ValueError, EOFError) as wrong:
            raise ProtocolError(f"the answer of {to.address}:{to.port} is not HTTP: {wrong}") from wrong
        finally:
            writer.close()


async def _response(reader: asyncio.StreamReader, method: str) -> Response:
    status = 100
    while status < 200:
        first, headers = await _head(reader)
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError(first[:40])
        status = int(rest[:3])
    if method == "HEAD" or status in (204, 304):
        return Response(status, b"", headers)
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = await _chunks(reader)
    elif "content-length" in headers:
        if (size := int(headers["content-length"])) > _LARGEST_BODY:
            raise ValueError("the body is too large")
        body = await reader.readexactly(size)
    else:
        body = await reader.read(_LARGEST_BODY)
        while more := await reader.read(_LARGEST_BODY):
            body += more
            if len(body) > _LARGEST_BODY:
                raise ValueError("the body is too large")
    return Response(status, body, headers)


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """(first line, headers)."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as wrong:
        raise ValueError("the headers are too large") from wrong
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    # Probes' headers go on to the application: a lone line feed in one could be a second request to it.
    if any(it in line for line in (first, *lines) for it in "\r\n\0"):
        raise ValueError("the headers hold control characters")
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        if len(body) + size > _LARGEST_BODY:
            raise ValueError("the body is too large")
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return bytes(body)
