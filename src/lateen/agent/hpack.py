"""What do HTTP/2's compressed headers say? Reading all of RFC 7541, writing its simplest form.

The agent asks gRPC servers for their health; whatever such a server may send must be understood, tables and Huffman too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Header = tuple[bytes, bytes]

_TABLE_SIZE = 4096
_LARGEST = 65536

#: RFC 7541, appendix A: index 1 is the first.
_STATIC: tuple[Header, ...] = tuple(
    (name, value.replace(b"~", b" "))
    for name, _, value in (
        line.partition(b"=")
        for line in (
            b":authority :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https :status=200"
            b" :status=204 :status=206 :status=304 :status=400 :status=404 :status=500 accept-charset"
            b" accept-encoding=gzip,~deflate accept-language accept-ranges accept access-control-allow-origin age allow"
            b" authorization cache-control content-disposition content-encoding content-language content-length"
            b" content-location content-range content-type cookie date etag expect expires from host if-match"
            b" if-modified-since if-none-match if-range if-unmodified-since last-modified link location max-forwards"
            b" proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie"
            b" strict-transport-security transfer-encoding user-agent vary via www-authenticate"
        ).split(b" ")
    )
)

#: RFC 7541, appendix B: the code is canonical, so that the symbols of each length, in order, are all of it.
_LENGTHS: tuple[tuple[int, bytes], ...] = (
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b'!"()?'),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\x00$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
    (19, bytes((92, 195, 208))),
    (20, bytes((128, 130, 131, 162, 184, 194, 224, 226))),
    (21, bytes((153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230))),
    (22, bytes((129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190,
                196, 198, 228, 232, 233))),
    (23, bytes((1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175,
                180, 182, 183, 188, 191, 197, 231, 239))),
    (24, bytes((9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237))),
    (25, bytes((199, 207, 234, 235))),
    (26, bytes((192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255))),
    (27, bytes((203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254))),
    (28, bytes((2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127,
                220, 249))),
    (30, bytes((10, 13, 22))),
)  # fmt: skip


class HpackError(ValueError):
    """The bytes are no header block."""


def encode(headers: Iterable[Header]) -> bytes:
    """A block that needs no table: every header literal, never indexed by anyone."""
    return b"".join(
        b"\x10" + _number(len(name)) + name + _number(len(value)) + value for name, value in headers
    )


def _number(value: int) -> bytes:
    """An integer with a prefix of 7 bits whose first bit, Huffman, is off."""
    if value < 127:
        return bytes([value])
    made, value = bytearray([127]), value - 127
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


class Decoder:
    """The reader of one connection: its table grows with what the peer sends."""

    def __init__(self) -> None:
        self._dynamic: list[Header] = []
        self._limit = _TABLE_SIZE

    def decode(self, block: bytes) -> list[Header]:
        """The headers of one block; HpackError."""
        found: list[Header] = []
        at = 0
        while at < len(block):
            first = block[at]
            if first & 0x80:
                index, at = _integer(block, at, 7)
                found.append(self._entry(index))
            elif first & 0x40:
                header, at = self._literal(block, at, 6)
                self._remember(header)
                found.append(header)
            elif first & 0x20:
                self._limit, at = _integer(block, at, 5)
                if self._limit > _TABLE_SIZE:
                    raise HpackError("the table is made larger than allowed")
                self._evict()
            else:
                header, at = self._literal(block, at, 4)
                found.append(header)
        return found

    def _literal(self, block: bytes, at: int, prefix: int) -> tuple[Header, int]:
        index, at = _integer(block, at, prefix)
        if index:
            name = self._entry(index)[0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        return (name, value), at

    def _entry(self, index: int) -> Header:
        if 1 <= index <= len(_STATIC):
            return _STATIC[index - 1]
        if 0 <= (place := index - len(_STATIC) - 1) < len(self._dynamic):
            return self._dynamic[place]
        raise HpackError(f"there is no header {index} in the table")

    def _remember(self, header: Header) -> None:
        self._dynamic.insert(0, header)
        self._evict()

    def _evict(self) -> None:
        size = sum(len(name) + len(value) + 32 for name, value in self._dynamic)
        while size > self._limit:
            name, value = self._dynamic.pop()
            size -= len(name) + len(value) + 32


def _integer(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    if at >= len(block):
        raise HpackError("the block ends early")
    most = (1 << prefix) - 1
    value, at, shift = block[at] & most, at + 1, 0
    if value < most:
        return value, at
    while at < len(block) and shift < 28:
        byte = block[at]
        value, at, shift = value + ((byte & 127) << shift), at + 1, shift + 7
        if not byte & 128:
            return value, at
    raise HpackError("a number does not end")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    coded = at < len(block) and block[at] & 0x80
    size, at = _integer(block, at, 7)
    if at + size > len(block) or size > _LARGEST:
        raise HpackError("a string is longer than its block")
    raw = block[at : at + size]
    return (huffman(raw) if coded else raw), at + size


def _codes() -> Iterator[tuple[tuple[int, int], int]]:
    """((length, code), symbol): each code is the one before plus one, with zeros appended when the length grows."""
    code = before = 0
    for length, symbols in _LENGTHS:
        code <<= length - before
        for symbol in symbols:
            yield (length, code), symbol
            code += 1
        before = length


_SYMBOLS: dict[tuple[int, int], int] = {}


def huffman(raw: bytes) -> bytes:
    """The text of a Huffman-coded string."""
    if not _SYMBOLS:
        _SYMBOLS.update(_codes())
    made = bytearray()
    length = code = 0
    for byte in raw:
        for bit in range(7, -1, -1):
            code, length = code << 1 | byte >> bit & 1, length + 1
            if (symbol := _SYMBOLS.get((length, code))) is not None:
                made.append(symbol)
                length = code = 0
            elif length > 30:
                raise HpackError("no such Huffman code")
    # What is left is padding: less than a byte, all ones.
    if length > 7 or code != (1 << length) - 1:
        raise HpackError("the padding of a string is wrong")
    return bytes(made)
