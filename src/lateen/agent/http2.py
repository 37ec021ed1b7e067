"""How does the agent call a gRPC method? One unary call over HTTP/2, by the standard library alone (RFC 9113).

For health checks and for the CA. grpcio would cost every pod tens of megabytes for these two messages.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Iterable, Mapping
from enum import IntEnum

from lateen.agent.hpack import Decoder, Header, HpackError, encode

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 1, 1, 4, 8, 32
_STREAM = 1
#: Our own settings are the defaults, so that frames have at most 16 KB. A response fits into the first window.
_LARGEST_FRAME, _LARGEST_RESPONSE = 16384, 65535

OK, UNKNOWN, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 0, 2, 12, 13, 14, 16
#: gRPC's mapping for servers that answer in plain HTTP (doc/http-grpc-status-mapping.md).
_PLAIN = {400: INTERNAL, 401: UNAUTHENTICATED, 403: 7, 404: UNIMPLEMENTED, 429: UNAVAILABLE, 502: UNAVAILABLE,
          503: UNAVAILABLE, 504: UNAVAILABLE}  # fmt: skip


class _Kind(IntEnum):
    """Frames that matter here."""

    DATA = 0
    HEADERS = 1
    RESET = 3
    SETTINGS = 4
    PUSH = 5
    PING = 6
    GOAWAY = 7
    CONTINUATION = 9


class CallError(Exception):
    """The call did not succeed: gRPC's code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message or 'no reason was given'} (gRPC status {code})")
        self.code = code


class _Answer:
    """What has arrived of the response."""

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.ended = False


async def unary(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, message: bytes, *,
    authority: str, scheme: str = "http", metadata: Iterable[Header] = (),
) -> bytes:  # fmt: skip
    """The response message on a fresh connection; CallError, OSError. The caller bounds the time."""
    if len(message) + 5 > _LARGEST_FRAME:
        raise ValueError("the message does not fit into one frame")
    headers = [
        (b":method", b"POST"), (b":scheme", scheme.encode()), (b":path", path.encode()),
        (b":authority", authority.encode()), (b"content-type", b"application/grpc"), (b"te", b"trailers"),
        (b"user-agent", b"lateen-agent"), *metadata,
    ]  # fmt: skip
    settings = struct.pack(">HI", 2, 0)  # no pushes
    writer.write(
        _PREFACE + _frame(_Kind.SETTINGS, 0, 0, settings)
        + _frame(_Kind.HEADERS, _END_HEADERS, _STREAM, encode(headers))
        + _frame(_Kind.DATA, _END_STREAM, _STREAM, struct.pack(">BI", 0, len(message)) + message)
    )  # fmt: skip
    await writer.drain()
    try:
        answer = await _answer(reader, writer)
    except asyncio.IncompleteReadError:
        raise CallError(UNAVAILABLE, "the server closed the connection") from None
    except HpackError as wrong:
        raise CallError(INTERNAL, str(wrong)) from wrong
    return _message(answer)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Answer:
    answer, decoder = _Answer(), Decoder()
    while not answer.ended:
        kind, flags, stream, payload = await _read(reader)
        match kind:
            case _Kind.DATA if stream == _STREAM:
                answer.body += _unpadded(flags, payload)
                if len(answer.body) > _LARGEST_RESPONSE:
                    raise CallError(INTERNAL, "the response is too large")
                answer.ended = bool(flags & _END_STREAM)
            case _Kind.HEADERS:
                block = _unpadded(flags, payload)[5 if flags & _PRIORITY else 0 :]
                ended = bool(flags & _END_STREAM)
                while not flags & _END_HEADERS:
                    kind, flags, _, payload = await _read(reader)
                    block += payload
                    if kind != _Kind.CONTINUATION or len(block) > _LARGEST_RESPONSE:
                        raise CallError(INTERNAL, "the server's headers do not end")
                headers = decoder.decode(block)  # always: the table is the connection's
                if stream == _STREAM:
                    answer.headers |= dict(headers)
                    answer.ended = ended
            case _Kind.RESET if stream == _STREAM:
                raise CallError(UNAVAILABLE, f"the server reset the stream ({_code(payload, 0)})")
            case _Kind.SETTINGS | _Kind.PING if not flags & _ACK:
                writer.write(_frame(kind, _ACK, 0, payload if kind == _Kind.PING else b""))
            case _Kind.GOAWAY if _code(payload, 0) < _STREAM:
                raise CallError(UNAVAILABLE, f"the server is going away ({_code(payload, 4)})")
            case _Kind.PUSH:
                raise CallError(INTERNAL, "the server pushes, though it was told not to")
            case _:
                pass  # window updates, priorities, and whatever is to be ignored
    return answer


async def _read(reader: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
    head = await reader.readexactly(9)
    size = int.from_bytes(head[:3], "big")
    if size > _LARGEST_FRAME:
        raise CallError(UNAVAILABLE, "the server does not speak HTTP/2")
    return head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF, await reader.readexactly(size)


def _unpadded(flags: int, payload: bytes) -> bytes:
    return payload[1 : len(payload) - payload[0]] if flags & _PADDED and payload else payload


def _code(payload: bytes, at: int) -> int:
    return int.from_bytes(payload[at : at + 4], "big")


def _message(answer: _Answer) -> bytes:
    _refuse(answer.headers)
    if len(answer.body) < 5 or answer.body[0] != 0:
        raise CallError(INTERNAL, "the server sent no message, or a compressed one")
    size = int.from_bytes(answer.body[1:5], "big")
    if len(answer.body) < 5 + size:
        raise CallError(INTERNAL, "the server's message is cut off")
    return bytes(answer.body[5 : 5 + size])


def _refuse(headers: Mapping[bytes, bytes]) -> None:
    status = headers.get(b"grpc-status", b"")
    if status == b"0":
        return
    if status.isdigit():
        raise CallError(int(status), _unquoted(headers.get(b"grpc-message", b"")))
    plain = int(headers[b":status"]) if headers.get(b":status", b"").isdigit() else 0
    raise CallError(_PLAIN.get(plain, UNKNOWN), f"the server answered without a gRPC status (HTTP {plain})")


def _unquoted(text: bytes) -> str:
    """gRPC's percent encoding."""
    plain = re.sub(rb"%([0-9A-Fa-f]{2})", lambda it: bytes([int(it[1], 16)]), text)
    return plain.decode(errors="replace")
