"""What stands in the bytes of SPDY/3.1? Frames in and out, without a connection.

kubectl forwards ports by SPDY, today inside a websocket. The form: draft-mbelshe-httpbis-spdy-00 and what 3.1 changed,
https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/. Clients of Kubernetes use no flow control.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

#: A frame holds at most this much of what we send.
LARGEST_DATA = 32 * 1024
_LARGEST_HEADERS = 256 * 1024

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow"
    " authorization cache-control connection content-base content-encoding content-language content-length"
    " content-location content-md5 content-range content-type date etag expect expires from host if-match"
    " if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma"
    " proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade"
    " user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie"
    " keep-alive origin"
)
_CODES = "100 101 201 202 205 206 300 302 303 304 305 306 307 402 405 406 407 408 409 410 411 412 413 414 415 416 417 502 504 505"
_REST = (
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept"
    " Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch"
    "charset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
#: What both sides take as known when they compress headers (section 2.6.10.1). Its Adler-32 is 0xe3c6a7c2.
DICTIONARY = (
    b"".join(struct.pack(">I", len(it)) + it.replace("_", " ").encode() for it in _WORDS.split())
    + (_CODES.replace(" ", "") + _REST).encode()
)

_CONTROL, _FIN = 0x8003, 1
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY, _HEADERS = 1, 2, 3, 6, 7, 8
#: Status codes of RST_STREAM.
REFUSED, CANCELLED = 3, 5


class BrokenError(ValueError):
    """The other side does not speak SPDY/3.1."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The other side opened a stream."""

    stream: int
    headers: dict[str, str]
    last: bool  # nothing more will come on it


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream."""

    stream: int
    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """The other side ended a stream in both directions."""

    stream: int


@dataclass(frozen=True, slots=True)
class Ping:
    """To be answered with the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """The other side will end."""


Frame = Opened | Data | Reset | Ping | GoAway


class Codec:
    """One end of a connection: compression has a memory of all headers before."""

    def __init__(self) -> None:
        self._rest = b""
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now."""
        self._rest += data
        found: list[Frame] = []
        at = 0
        while len(self._rest) - at >= 8:
            size = int.from_bytes(self._rest[at + 5 : at + 8], "big")
            if len(self._rest) - at < 8 + size:
                break
            try:
                frame = self._frame(self._rest[at : at + 8], self._rest[at + 8 : at + 8 + size])
            except struct.error as short:
                raise BrokenError(f"a frame that is too short: {short}") from short
            if frame is not None:
                found.append(frame)
            at += 8 + size
        self._rest = self._rest[at:]
        return found

    def _frame(self, head: bytes, body: bytes) -> Frame | None:
        first, second, flags = struct.unpack(">HHB", head[:5])
        if not first & 0x8000:
            return Data((first << 16) | second, body, bool(flags & _FIN))
        if first != _CONTROL:
            raise BrokenError(f"a frame of version {first & 0x7FFF}, not 3")
        match second:
            case 1:  # SYN_STREAM
                stream = struct.unpack_from(">I", body)[0] & 0x7FFFFFFF
                return Opened(stream, self._headers(body[10:]), bool(flags & _FIN))
            case 2 | 8:  # SYN_REPLY, HEADERS: nothing to learn, but the compression goes on
                self._headers(body[4:])
            case 3:
                return Reset(struct.unpack_from(">I", body)[0] & 0x7FFFFFFF)
            case 6:
                return Ping(struct.unpack_from(">I", body)[0])
            case 7:
                return GoAway()
        return None  # SETTINGS, WINDOW_UPDATE and what is not known are ignored

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, _LARGEST_HEADERS)
            if self._inflate.unconsumed_tail:
                raise BrokenError("headers that are too large")
            (count,) = struct.unpack_from(">I", plain)
            at, words = 4, []
            for _ in range(2 * count):
                (size,) = struct.unpack_from(">I", plain, at)
                words.append(plain[at + 4 : at + 4 + size].decode())
                at += 4 + size
        except (zlib.error, struct.error, UnicodeDecodeError) as wrong:
            raise BrokenError(f"headers that cannot be read: {wrong}") from wrong
        return dict(zip(words[::2], words[1::2], strict=True))

    def reply(self, stream: int) -> bytes:
        """A stream is accepted."""
        plain = struct.pack(">I", 0)
        block = self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _control(_SYN_REPLY, struct.pack(">I", stream) + block)


def data(stream: int, content: bytes, *, last: bool = False) -> bytes:
    """Bytes for a stream, in as many frames as needed."""
    parts = [content[at : at + LARGEST_DATA] for at in range(0, len(content), LARGEST_DATA)] or [b""]
    made = []
    for n, part in enumerate(parts):
        flags = _FIN if last and n == len(parts) - 1 else 0
        made.append(struct.pack(">II", stream, (flags << 24) | len(part)) + part)
    return b"".join(made)


def reset(stream: int, status: int) -> bytes:
    """End a stream in both directions."""
    return _control(_RST_STREAM, struct.pack(">II", stream, status))


def ping(number: int) -> bytes:
    """Answer a ping."""
    return _control(_PING, struct.pack(">I", number))


def go_away(last_stream: int) -> bytes:
    """We end."""
    return _control(_GOAWAY, struct.pack(">II", last_stream, 0))


def _control(kind: int, body: bytes) -> bytes:
    return struct.pack(">HHI", _CONTROL, kind, len(body)) + body
