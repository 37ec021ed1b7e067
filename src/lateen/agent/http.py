"""How does the agent speak HTTP/1.1? One request a connection, within limits; the server is ``lateen.agent.serving``."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import NamedTuple

LARGEST_HEAD = 32 * 1024
_LARGEST_BODY = 32 * 1024 * 1024


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
        to.address, to.port, local_addr=local, ssl=context, limit=LARGEST_HEAD
    )


async def fetch(
    to: Endpoint, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, timeout_s: float = 5.0,
    enough: int = 0,
) -> Response:  # fmt: skip
    """The whole answer, or ``enough`` bytes of its body; OSError (TimeoutError and ProtocolError are such) without one."""
    sent = {"host": f"{to.address}:{to.port}", "accept": "*/*", **(headers or {}), "connection": "close"}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    async with asyncio.timeout(timeout_s):
        reader, writer = await connect(to)
        try:
            writer.write("\r\n".join([*lines, "content-length: 0", "", ""]).encode("latin-1", "replace"))
            await writer.drain()
            return await _response(reader, method, enough)
        except (ValueError, EOFError) as wrong:
            raise ProtocolError(f"the answer of {to.address}:{to.port} is not HTTP: {wrong}") from wrong
        finally:
            writer.close()


async def _response(reader: asyncio.StreamReader, method: str, enough: int) -> Response:
    status = 100
    while status < 200:
        first, headers = await head(reader)
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError(first[:40])
        status = int(rest[:3])
    if method == "HEAD" or status in (204, 304):
        return Response(status, b"", headers)
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return Response(status, await _chunks(reader, enough), headers)
    size = int(headers["content-length"]) if "content-length" in headers else None
    return Response(status, await _plain(reader, size, enough), headers)


async def _plain(reader: asyncio.StreamReader, size: int | None, enough: int) -> bytes:
    """``size`` bytes, or whatever comes before the end."""
    if size is not None:
        return await reader.readexactly(min(size, enough) if enough else _bounded(size))
    body = bytearray()
    while (not enough or len(body) < enough) and (more := await reader.read(65536)):
        body += more
        _bounded(len(body))
    return bytes(body[: enough or None])


async def _chunks(reader: asyncio.StreamReader, enough: int) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        if enough and len(body) + size >= enough:
            body += await reader.readexactly(enough - len(body))
            break
        _bounded(len(body) + size)
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return bytes(body)


def _bounded(size: int) -> int:
    if size > _LARGEST_BODY:
        raise ValueError("the body is too large")
    return size


async def head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """(first line, headers); ValueError, EOFError."""
    try:
        found = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as wrong:
        raise ValueError("the headers are too large") from wrong
    first, *lines = found.decode("latin-1").split("\r\n")[:-2]
    # Probes' headers go on to the application: a lone line feed in one could be a second request to it.
    if any(it in line for line in (first, *lines) for it in "\r\n\0"):
        raise ValueError("the headers hold control characters")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        # Two lengths are two opinions on where the next message begins.
        if name == "content-length" and (name in headers or not value.isdecimal() or not value.isascii()):
            raise ValueError("the length of the body is not clear")
        headers[name] = value
    return first, headers
