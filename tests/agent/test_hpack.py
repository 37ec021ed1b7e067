"""Header blocks are read as RFC 7541's own examples (appendix C) say."""

from __future__ import annotations

import pytest

from lateen.agent.hpack import Decoder, Header, HpackError, encode, huffman

REQUEST = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
RESPONSE = [
    (b":status", b"302"), (b"cache-control", b"private"), (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
    (b"location", b"https://www.example.com"),
]  # fmt: skip
COOKIE = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"


@pytest.mark.parametrize(
    "blocks",
    [
        # C.3 in plain, C.4 in Huffman's code: three requests of one connection.
        ["828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
         "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"],
        ["828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf",
         "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"],
    ],
)  # fmt: skip
def test_requests_of_one_connection_share_a_table(blocks: list[str]) -> None:
    decoder = Decoder()
    first, second, third = (decoder.decode(bytes.fromhex(it)) for it in blocks)
    assert first == REQUEST
    assert second == [*REQUEST, (b"cache-control", b"no-cache")]
    assert third == [
        (b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"), (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ]  # fmt: skip


def test_old_headers_leave_a_small_table() -> None:
    # C.6: the table holds 256 bytes, so that each response drops what the one before needed.
    decoder = Decoder()
    decoder.decode(bytes.fromhex("3fe101"))
    blocks = [
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        (
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f"
            "3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
        ),
    ]
    first, second, third = (decoder.decode(bytes.fromhex(it)) for it in blocks)
    assert first == RESPONSE
    assert second == [(b":status", b"307"), *RESPONSE[1:]]
    assert third == [
        (b":status", b"200"), (b"cache-control", b"private"), (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
        (b"location", b"https://www.example.com"), (b"content-encoding", b"gzip"), (b"set-cookie", COOKIE),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 300, 20000])
def test_what_is_written_is_read_back(size: int) -> None:
    headers: list[Header] = [(b":path", b"/"), (b"authorization", b"x" * size)]
    assert Decoder().decode(encode(headers)) == headers


def test_every_byte_has_a_huffman_code() -> None:
    # From the same table, the other way round.
    from lateen.agent.hpack import _codes

    codes = {symbol: f"{code:0{length}b}" for (length, code), symbol in _codes()}
    bits = "".join(codes[it] for it in range(256))
    bits += "1" * (-len(bits) % 8)
    assert huffman(int(bits, 2).to_bytes(len(bits) // 8, "big")) == bytes(range(256))
    # Canonical and complete: the longest code is all ones but for the last two bits.
    assert codes[22] == "1" * 28 + "10"


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("80", "no header 0"), ("ff00", "no header 127"), ("c0", "no header 64"), ("41", "ends early"),
        ("410f77", "longer than its block"), ("7f", "does not end"), ("7fffffffffff7f", "does not end"),
        ("3fe2ff7f", "larger than allowed"), ("00820000", "padding"), ("0084ffffffff", "no such|padding"),
    ],
)  # fmt: skip
def test_broken_blocks_are_refused(block: str, said: str) -> None:
    with pytest.raises(HpackError, match=said):
        Decoder().decode(bytes.fromhex(block))
