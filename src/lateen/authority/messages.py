"""What do the CA's two messages say? Read and written by hand: they have three fields that matter.

https://github.com/istio/api/blob/master/security/v1alpha1/ca.proto (``IstioCertificateService``)
"""

from __future__ import annotations

from collections.abc import Iterator

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"


class MalformedError(ValueError):
    """The bytes are no such message."""


def request(raw: bytes) -> tuple[bytes, int]:
    """(CSR as PEM, wanted validity in seconds) of an IstioCertificateRequest."""
    csr, validity = b"", 0
    for field, value in _fields(raw):
        if field == 1 and isinstance(value, bytes):
            csr = value
        elif field == 3 and isinstance(value, int):
            validity = value
    return csr, validity


def response(chain: list[bytes]) -> bytes:
    """An IstioCertificateResponse: certificates, the leaf first, the root last."""
    return b"".join(b"\x0a" + _varint(len(it)) + it for it in chain)


def _fields(raw: bytes) -> Iterator[tuple[int, bytes | int]]:
    at = 0
    while at < len(raw):
        key, at = _read_varint(raw, at)
        if key & 7 == 0:
            value, at = _read_varint(raw, at)
            yield key >> 3, value
        elif key & 7 == 2:
            size, at = _read_varint(raw, at)
            if at + size > len(raw):
                raise MalformedError("a field is longer than the message")
            yield key >> 3, raw[at : at + size]
            at += size
        else:
            raise MalformedError(f"wire type {key & 7} is not part of this message")


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw) and shift < 64:
        byte = raw[at]
        value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
        if not byte & 0x80:
            return value, at
    raise MalformedError("a number does not end")


def _varint(value: int) -> bytes:
    made = b""
    while value > 0x7F:
        made, value = made + bytes([value & 0x7F | 0x80]), value >> 7
    return made + bytes([value])
