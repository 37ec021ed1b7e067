"""What do the CA's two messages say? Read and written by hand, for both sides: they have three fields that matter.

https://github.com/istio/api/blob/master/security/v1alpha1/ca.proto (``IstioCertificateService``)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"


class MalformedError(ValueError):
    """The bytes are no such message."""


def encode_request(csr_pem: bytes, seconds: int) -> bytes:
    """An IstioCertificateRequest: the CSR, and the validity that is wanted."""
    return _bytes(csr_pem) + b"\x18" + _varint(seconds)


def decode_request(raw: bytes) -> tuple[bytes, int]:
    """(CSR as PEM, wanted validity in seconds) of an IstioCertificateRequest; MalformedError."""
    csr, validity = b"", 0
    for field, value in _fields(raw):
        if field == 1 and isinstance(value, bytes):
            csr = value
        elif field == 3 and isinstance(value, int):
            validity = value
    return csr, validity


def encode_response(chain: Sequence[bytes]) -> bytes:
    """An IstioCertificateResponse: certificates, the leaf first, the root last."""
    return b"".join(map(_bytes, chain))


def decode_response(raw: bytes) -> list[bytes]:
    """The chain of an IstioCertificateResponse, the leaf first; MalformedError."""
    return [value for field, value in _fields(raw) if field == 1 and isinstance(value, bytes)]


def _bytes(value: bytes) -> bytes:
    """Field 1 of either message."""
    return b"\x0a" + _varint(len(value)) + value


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
