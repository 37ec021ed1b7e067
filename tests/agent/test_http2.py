"""One gRPC call: against a real server, and against whatever a server may rightly or wrongly send."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import pytest

from lateen.agent import http2
from lateen.agent.hpack import encode
from lateen.agent.http2 import CallError

CHECK = "/grpc.health.v1.Health/Check"


async def call(port: int, message: bytes = b"", path: str = CHECK) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(20):
            return await http2.unary(reader, writer, path, message, authority=f"127.0.0.1:{port}")
    finally:
        writer.close()


def named(name: str) -> bytes:
    return b"\x0a" + bytes([len(name)]) + name.encode()


async def test_a_real_server_answers(health_server: int) -> None:
    assert await call(health_server) == b"\x08\x01"
    assert await call(health_server, named("shop.Sick")) == b"\x08\x02"


async def test_a_refusal_has_its_code_and_words(health_server: int) -> None:
    with pytest.raises(CallError, match=r'unknown service "shop\.None" — 100 %') as refused:
        await call(health_server, named("shop.None"))
    assert refused.value.code == 5


async def test_a_method_that_is_not_there(health_server: int) -> None:
    with pytest.raises(CallError) as refused:
        await call(health_server, path="/grpc.health.v1.Health/Nothing")
    assert refused.value.code == http2.UNIMPLEMENTED


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


HEAD = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
GOOD = b"\x00\x00\x00\x00\x02\x08\x01"
TRAILERS = encode([(b"grpc-status", b"0")])
SETTINGS = frame(4, 0, 0)
#: In Huffman's code and into the table: ``grpc-status: 0``, and then the same again by its index.
CODED = bytes.fromhex("40889acac8b21234da8f8107")


def spoken(*frames: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(GRPC_END)
        writer.write(b"".join(frames))

    return script


#: Where the client's request ends: an empty message in a DATA frame that ends the stream.
GRPC_END = frame(0, 1, 1, b"\x00\x00\x00\x00\x00")


@pytest.mark.parametrize(
    "frames",
    [
        (SETTINGS, frame(1, 4, 1, HEAD), frame(0, 0, 1, GOOD), frame(1, 5, 1, TRAILERS)),
        # In pieces, padded, with a priority, among frames that concern nobody.
        (SETTINGS, frame(8, 0, 0, b"\x00\x00\xff\xff"), frame(1, 8 | 32, 1, b"\x02" + bytes(5) + HEAD[:3] + b"\0\0"),
         frame(9, 4, 1, HEAD[3:]), frame(0, 8, 1, b"\x03" + GOOD[:4] + b"\0\0\0"), frame(99, 0, 0, b"?"),
         frame(0, 0, 1, GOOD[4:]), frame(7, 0, 0, struct.pack(">II", 1, 0)), frame(1, 5, 1, TRAILERS)),
        (SETTINGS, frame(1, 4, 1, HEAD), frame(0, 0, 1, GOOD), frame(1, 5, 1, CODED)),
    ],
)  # fmt: skip
async def test_all_rightful_forms_of_an_answer(scripted, frames) -> None:  # type: ignore[no-untyped-def]
    async with scripted(spoken(*frames)) as port:
        assert await call(port) == b"\x08\x01"


@pytest.mark.parametrize(
    ("frames", "code", "said"),
    [
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), http2.UNAVAILABLE, "not speak HTTP/2"),
        ((SETTINGS,), http2.UNAVAILABLE, "closed the connection"),
        ((SETTINGS, frame(3, 0, 1, b"\0\0\0\x07")), http2.UNAVAILABLE, "reset"),
        ((SETTINGS, frame(7, 0, 0, bytes(8))), http2.UNAVAILABLE, "going away"),
        ((SETTINGS, frame(5, 4, 1, bytes(8))), http2.INTERNAL, "pushes"),
        ((SETTINGS, frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff")), http2.INTERNAL, "does not end"),
        ((SETTINGS, frame(1, 4, 1, HEAD), frame(1, 5, 1, TRAILERS)), http2.INTERNAL, "no message"),
        ((SETTINGS, frame(1, 4, 1, HEAD), frame(0, 0, 1, GOOD[:-1]), frame(1, 5, 1, TRAILERS)), http2.INTERNAL, "cut off"),
        ((SETTINGS, frame(1, 4, 1, HEAD), *[frame(0, 0, 1, bytes(16384))] * 4), http2.INTERNAL, "too large"),
        ((SETTINGS, frame(1, 0, 1, HEAD), *[frame(9, 0, 1, bytes(16384))] * 5), http2.INTERNAL, "do not end"),
        ((SETTINGS, frame(1, 5, 1, encode([(b":status", b"503")]))), http2.UNAVAILABLE, "HTTP 503"),
        ((SETTINGS, frame(1, 5, 1, encode([(b":status", b"404")]))), http2.UNIMPLEMENTED, "HTTP 404"),
        ((SETTINGS, frame(1, 5, 1, HEAD)), http2.UNKNOWN, "without a gRPC status"),
    ],
)  # fmt: skip
async def test_what_goes_wrong_is_told(scripted, frames, code, said) -> None:  # type: ignore[no-untyped-def]
    async with scripted(spoken(*frames)) as port:
        with pytest.raises(CallError, match=said) as refused:
            await call(port)
    assert refused.value.code == code


async def test_pings_and_settings_are_acknowledged(scripted) -> None:  # type: ignore[no-untyped-def]
    heard = b""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        await reader.readuntil(GRPC_END)
        writer.write(SETTINGS + frame(6, 0, 0, b"12345678"))
        heard = await reader.readexactly(9 + 17)
        writer.write(frame(1, 4, 1, HEAD) + frame(0, 0, 1, GOOD) + frame(1, 5, 1, TRAILERS))

    async with scripted(script) as port:
        assert await call(port) == b"\x08\x01"
    assert heard == frame(4, 1, 0) + frame(6, 1, 0, b"12345678")
