"""SPDY's frames: what kubectl sends is understood in whatever pieces it comes."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skiff.streams import spdy
from skiff.streams.spdy import BrokenError, Codec, Data, GoAway, Opened, Ping, Reset


class Client:
    """The other end, as kubectl would write it."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=spdy.DICTIONARY)

    def open(self, stream: int, headers: dict[str, str], *, last: bool = False) -> bytes:
        plain = struct.pack(">I", len(headers))
        for text in (word for pair in headers.items() for word in pair):
            plain += struct.pack(">I", len(text)) + text.encode()
        block = self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        body = struct.pack(">IIH", stream, 0, 0) + block
        return struct.pack(">HHI", 0x8003, 1, (int(last) << 24) | len(body)) + body


def test_the_dictionary_is_the_one_of_the_standard() -> None:
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


HEADERS = [
    {"streamtype": "error", "port": "8080", "requestid": "0"},
    {"streamtype": "data", "port": "8080", "requestid": "0"},
]


@given(
    st.lists(st.binary(min_size=1, max_size=90_000), max_size=3), st.lists(st.integers(1, 5000), min_size=1)
)
def test_pieces_of_any_size_give_the_same_frames(contents: list[bytes], sizes: list[int]) -> None:
    client = Client()
    sent = client.open(1, HEADERS[0], last=True) + client.open(3, HEADERS[1])
    sent += b"".join(spdy.data(3, it) for it in contents) + spdy.data(3, b"", last=True)
    sent += spdy.ping(7) + spdy.reset(3, spdy.CANCELLED) + spdy.go_away(3)
    codec, found, at, turn = Codec(), [], 0, 0
    while at < len(sent):
        size = sizes[turn % len(sizes)]
        found += codec.feed(sent[at : at + size])
        at, turn = at + size, turn + 1
    assert found[:2] == [Opened(1, HEADERS[0], last=True), Opened(3, HEADERS[1], last=False)]
    assert b"".join(it.data for it in found if isinstance(it, Data)) == b"".join(contents)
    assert found[-4:] == [Data(3, b"", last=True), Ping(7), Reset(3), GoAway()]


def test_replies_can_be_read_one_after_another() -> None:
    codec, inflate = Codec(), zlib.decompressobj(zdict=spdy.DICTIONARY)
    for stream in (1, 3, 5):
        frame = codec.reply(stream)
        assert struct.unpack(">HHI", frame[:8]) == (0x8003, 2, len(frame) - 8)
        assert inflate.decompress(frame[12:]) == struct.pack(">I", 0)


@pytest.mark.parametrize(
    "raw", [b"\x80\x02\x00\x01\x00\x00\x00\x00", b"\x80\x03\x00\x01\x00\x00\x00\x0c" + b"x" * 12]
)
def test_what_is_no_spdy_is_refused(raw: bytes) -> None:
    with pytest.raises(BrokenError):
        Codec().feed(raw)


@pytest.mark.finding("issue 7 part 3")
@pytest.mark.parametrize("kind", [1, 3, 6])
def test_a_frame_without_contents_is_broken(kind: int) -> None:
    """Not an error of ours: whoever sends it is hung up on, and nobody else hears of it."""
    with pytest.raises(spdy.BrokenError):
        spdy.Codec().feed(struct.pack(">HHI", 0x8003, kind, 0))
