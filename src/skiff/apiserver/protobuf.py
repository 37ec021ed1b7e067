"""What does a body in Kubernetes' protobuf say? kubectl's typed commands send nothing else; answers are always JSON.

The form: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding. The numbers of the fields lie in
``protobuf_fields.txt``; what is sent and not known there is reported, since an object without it is another object.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

MAGIC = b"k8s\x00"
#: Options that every group knows under its own name.
_OPTIONS = frozenset({"DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions"})

#: Unknown fields that are told one by one.
_MOST_TOLD = 100
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class UnreadableError(ValueError):
    """The bytes are no message of this form; the message says where it goes wrong."""


class UnknownKindError(LookupError):
    """There is no table for this kind."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    name: str  # "" when the fields of its message are those of the message around it
    type: str  # "", i, b, y, f or the name of a message
    shape: str  # "", [] or {}
    keeps_zero: bool


Message = dict[int, Field]


@cache
def _messages() -> dict[str, Message]:
    """The table: ``apps/v1.Deployment`` -> its fields."""
    made: dict[str, Message] = {}
    package = ""
    for line in Path(__file__).with_name("protobuf_fields.txt").read_text().splitlines():
        if line.startswith("["):
            package = line[1:-1]
        elif not line.startswith("#"):
            name, *fields = line.split(" ")
            made[f"{package}.{name}"] = {
                int(number): _field(package, text) for number, _, text in (it.partition("=") for it in fields)
            }
    return made


def _field(package: str, text: str) -> Field:
    name, _, form = text.partition(":")
    keeps = text.endswith("!")
    form = form.removesuffix("!")
    shape = form[:2] if form[:2] in ("[]", "{}") else ""
    kind = form.removeprefix(shape)
    if len(kind) > 1 and "." not in kind and kind != "Items":
        kind = f"{package}.{kind}"
    return Field(name.removesuffix("!"), kind, shape, keeps)


def decode(raw: bytes) -> tuple[dict[str, Any], list[str]]:
    """(the object as in JSON, the places of fields which the table does not know)."""
    if not raw.startswith(MAGIC):
        raise UnreadableError("the body does not begin as Kubernetes' protobuf does")
    parts = dict(_fields(raw[len(MAGIC) :]))
    named = dict(_fields(_octets(parts.get(1, b""))))
    version, kind = _text(named.get(1, b"")), _text(named.get(2, b""))
    message = message_of(version, kind)
    if message is None:
        raise UnknownKindError(f"{kind} in version {version!r} is not known in protobuf here: send JSON")
    unknown: list[str] = []
    found = _Reader(unknown).message(_octets(parts.get(2, b"")), message, kind)
    return {"apiVersion": version, "kind": kind, **found}, unknown


def message_of(version: str, kind: str) -> str | None:
    """The name in the table; None when it is not there."""
    group, _, number = version.rpartition("/")
    name = (
        f"meta/v1.{kind}"
        if kind in _OPTIONS
        else f"{group.split('.')[0] if group else 'core'}/{number}.{kind}"
    )
    return name if name in _messages() else None


class _Reader:
    """Turns messages into dicts, noting what it does not know."""

    def __init__(self, unknown: list[str]) -> None:
        self._unknown = unknown

    def message(self, raw: bytes, name: str, place: str) -> dict[str, Any]:
        """The fields of one message, those of inlined ones among them."""
        table = _messages()[name]
        made: dict[str, Any] = {}
        for number, value in _fields(raw):
            field = table.get(number)
            if field is None:
                if len(self._unknown) < _MOST_TOLD:
                    self._unknown.append(f"{place}[{number}]")
            elif not field.name:
                made |= self.message(_octets(value), field.type, place)
            else:
                self._put(made, field, value, f"{place}.{field.name}")
        return made

    def _put(self, made: dict[str, Any], field: Field, value: int | bytes, place: str) -> None:
        match field.shape:
            case "[]":
                made.setdefault(field.name, []).append(self._value(field.type, value, place))
            case "{}":
                entry = dict(_fields(_octets(value)))
                absent: int | bytes = 0 if field.type in ("i", "b") else b""
                held = self._value(field.type, entry.get(2, absent), place)
                made.setdefault(field.name, {})[_text(entry.get(1, b""))] = held
            case _:
                found = self._value(field.type, value, place)
                if found is not None and (found or field.keeps_zero):
                    made[field.name] = found

    def _value(self, kind: str, value: int | bytes, place: str) -> Any:
        if read := _SCALARS.get(kind):
            return read(value)
        return self.message(_octets(value), kind, place)


# --- values ------------------------------------------------------------------------------------


def _integer(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise UnreadableError("a number is sent as bytes")
    return value - (1 << 64) if value >> 63 else value


def _float(value: int | bytes) -> float:
    found: float = struct.unpack("<d", struct.pack("<Q", value))[0]
    return found


def _octets(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise UnreadableError("bytes are sent as a number")
    return value


def _text(value: int | bytes) -> str:
    return _octets(value).decode()


def _quantity(value: int | bytes) -> str | None:
    return _text(dict(_fields(_octets(value))).get(1, b"")) or None


def _int_or_string(value: int | bytes) -> int | str:
    parts = dict(_fields(_octets(value)))
    return _text(parts.get(3, b"")) if parts.get(1) else _integer(parts.get(2, 0))


def _moment(value: int | bytes) -> datetime | None:
    raw = _octets(value)
    if not raw:  # Go's zero time
        return None
    parts = dict(_fields(raw))
    seconds, nanos = _integer(parts.get(1, 0)), _integer(parts.get(2, 0))
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)


def _time(value: int | bytes) -> str | None:
    found = _moment(value)
    return found.strftime("%Y-%m-%dT%H:%M:%SZ") if found else None


def _micro_time(value: int | bytes) -> str | None:
    found = _moment(value)
    return found.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if found else None


def _duration(value: int | bytes) -> str:
    return f"{_integer(dict(_fields(_octets(value))).get(1, 0)) / 1e9:g}s"


def _embedded(value: int | bytes) -> Any:
    raw = _octets(dict(_fields(_octets(value))).get(1, b""))
    return msgspec.json.decode(raw) if raw else None


def _items(value: int | bytes) -> list[str]:
    return [_text(it) for _, it in _fields(_octets(value))]


_SCALARS: dict[str, Callable[[int | bytes], Any]] = {
    "": _text, "i": _integer, "b": bool, "f": _float, "y": lambda it: base64.b64encode(_octets(it)).decode(), "Items": _items,
    "api/resource.Quantity": _quantity, "util/intstr.IntOrString": _int_or_string, "meta/v1.Time": _time,
    "meta/v1.MicroTime": _micro_time, "meta/v1.Duration": _duration, "meta/v1.FieldsV1": _embedded,
    "runtime.RawExtension": _embedded,
}  # fmt: skip


# --- bytes -------------------------------------------------------------------------------------


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of a message: https://protobuf.dev/programming-guides/encoding/."""
    at, end = 0, len(raw)
    while at < end:
        tag, at = _varint(raw, at)
        number, form = tag >> 3, tag & 7
        value: int | bytes
        if form == _VARINT:
            value, at = _varint(raw, at)
        elif form == _BYTES:
            size, at = _varint(raw, at)
            value, at = raw[at : at + size], at + size
        elif form in (_FIXED64, _FIXED32):
            size = 8 if form == _FIXED64 else 4
            value, at = int.from_bytes(raw[at : at + size], "little"), at + size
        else:
            raise UnreadableError(f"field {number} has the unknown wire type {form}")
        if at > end:
            raise UnreadableError(f"field {number} ends after the message")
        yield number, value


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while at < len(raw) and shift < 64:
        byte = raw[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, at
        shift += 7
    raise UnreadableError("a number does not end")
