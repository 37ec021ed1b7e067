"""Of which type is a value by its schema? So that a rule about a field that does not exist is refused with its definition.

The library knows the types of messages: a schema becomes messages which are never filled. At run time values are dynamic.
Names that are no identifiers are escaped as in
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)

from skiff.admission.cel.library import Type
from skiff.schema.formats import duration
from skiff.schema.node import SchemaNode

_KEYWORDS = frozenset(
    {
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
        "loop", "package", "namespace", "return",
    }
)  # fmt: skip
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_DYNAMIC = "google.protobuf.Value"
_SCALARS = {"string": "STRING", "integer": "INT", "number": "DOUBLE", "boolean": "BOOL"}
_FORMATS = {
    "date-time": "google.protobuf.Timestamp",
    "date": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
}
_WRAPPERS = {"STRING": "String", "INT": "Int64", "DOUBLE": "Double", "BOOL": "Bool", "BYTES": "Bytes"}
_NUMBERS = {"STRING": 9, "INT": 3, "DOUBLE": 1, "BOOL": 8, "BYTES": 12}
_MESSAGE = 11
_MOST_FIELDS = 10_000
#: What an object has, whatever its schema says.
_STRING = SchemaNode(type="string")
_METADATA = SchemaNode(type="object", load=lambda: {"name": _STRING, "generateName": _STRING})


def escaped(name: str) -> str:
    """The name in expressions; "" when there is none."""
    if name in _KEYWORDS:
        return f"__{name}__"
    for mark, word in _ESCAPES:
        name = name.replace(mark, word) if mark != "__" else word.join(name.split("__"))
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else ""


class Types:
    """The types of one schema."""

    def __init__(self) -> None:
        self._file = descriptor_pb2.FileDescriptorProto(name="types.proto", package="t", syntax="proto2")
        self._made: dict[int, str] = {}
        self._kept: list[SchemaNode] = []  # so that no other node gets the id of one that was looked at

    def of(self, node: SchemaNode, *, root: bool = False) -> Any:
        """The type of a variable; None for what expressions cannot see."""
        if node.int_or_string:
            return Type.DYN
        if node.type == "array":
            inside = self.of(node.items, root=node.items.embedded) if node.items else None
            return Type.List(inside) if inside else None
        if node.type == "object" and node.additional and not root:
            inside = self.of(node.additional, root=node.additional.embedded)
            return Type.Map(Type.STRING, inside) if inside else None
        if node.type == "object":
            return Type(f"t.{self._message(node, root)}")
        scalar = _scalar(node)
        if node.format in _FORMATS and scalar == "STRING":
            return Type.DURATION if node.format == "duration" else Type.TIMESTAMP
        return getattr(Type, scalar) if scalar else None

    def pool(self) -> descriptor_pool.DescriptorPool:
        """All messages made so far."""
        made = descriptor_pool.DescriptorPool()
        for it in (struct_pb2, timestamp_pb2, duration_pb2, wrappers_pb2):
            copy = descriptor_pb2.FileDescriptorProto()
            it.DESCRIPTOR.CopyToProto(copy)
            made.AddSerializedFile(copy.SerializeToString())
            self._file.dependency.append(copy.name)
        made.AddSerializedFile(self._file.SerializeToString())
        del self._file.dependency[:]
        return made

    def _message(self, node: SchemaNode, root: bool) -> str:
        if id(node) in self._made:
            return self._made[id(node)]
        self._kept.append(node)
        message = self._file.message_type.add(name=f"M{len(self._made)}")
        message.options.deprecated_legacy_json_field_conflicts = True  # a_b and aB may both be there
        self._made[id(node)] = message.name
        properties = dict(node.properties)
        if root:
            properties |= {"apiVersion": _STRING, "kind": _STRING, "metadata": _METADATA}
        for number, (name, child) in enumerate(list(properties.items())[:_MOST_FIELDS], 1):
            if called := escaped(name):
                self._field(message, called, number, child)
        return message.name

    def _field(self, message: Any, name: str, number: int, node: SchemaNode) -> None:
        label = 1
        place = node
        if node.type == "array" and not node.int_or_string:
            label, place = 3, node.items or SchemaNode()
        if place.type == "object" and place.additional and not place.int_or_string:
            self._map(message, name, number, place.additional, label)
            return
        kind, of = self._form(place)
        if not kind:
            return
        if label == 1 and node.nullable and kind != _MESSAGE:
            word = next(it for it, number_ in _NUMBERS.items() if number_ == kind)
            kind, of = _MESSAGE, f"google.protobuf.{_WRAPPERS[word]}Value"
        message.field.add(
            name=name,
            number=number,
            label=label,
            type=kind,
            type_name=f".{of}" if of else None,
            json_name=f"j{number}",
        )

    def _map(self, message: Any, name: str, number: int, inside: SchemaNode, label: int) -> None:
        """A field that is a map; a list of maps is dynamic, since messages have none."""
        if label == 3:
            message.field.add(
                name=name,
                number=number,
                label=3,
                type=_MESSAGE,
                type_name=f".{_DYNAMIC}",
                json_name=f"j{number}",
            )
            return
        kind, of = self._form(inside)
        if not kind:
            return
        called = "".join(it[:1].upper() + it[1:] for it in name.split("_")) + "Entry"
        if any(it.name == called for it in message.nested_type):  # two names that differ in nothing but "_"
            message.field.add(
                name=name,
                number=number,
                label=1,
                type=_MESSAGE,
                type_name=f".{_DYNAMIC}",
                json_name=f"j{number}",
            )
            return
        entry = message.nested_type.add(name=called)  # so must the entries of a field be called
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=1, type=9)
        entry.field.add(name="value", number=2, label=1, type=kind, type_name=f".{of}" if of else None)
        message.field.add(
            name=name,
            number=number,
            label=3,
            type=_MESSAGE,
            type_name=f".t.{message.name}.{entry.name}",
            json_name=f"j{number}",
        )

    def _form(self, node: SchemaNode) -> tuple[int, str]:
        """(number of the type, name of the message) of one value; (0, "") for what expressions cannot see."""
        if (
            node.int_or_string
            or (node.type == "array" and node.items)
            or (node.type == "object" and node.additional)
        ):
            return _MESSAGE, _DYNAMIC
        if node.type == "object":
            return _MESSAGE, f"t.{self._message(node, node.embedded)}"
        scalar = _scalar(node)
        if scalar == "STRING" and node.format in _FORMATS:
            return _MESSAGE, _FORMATS[node.format]
        return (_NUMBERS[scalar], "") if scalar else (0, "")


def _scalar(node: SchemaNode) -> str:
    return "BYTES" if node.type == "string" and node.format == "byte" else _SCALARS.get(node.type, "")


def needs_change(node: SchemaNode) -> bool:
    """Whether values of this schema look different to expressions: names, times, numbers with a point."""
    return _needs(node, set())


def _needs(node: SchemaNode, seen: set[int]) -> bool:
    if id(node) in seen:
        return False
    seen.add(id(node))
    if node.type == "number" or node.format in _FORMATS or node.format == "byte":
        return True
    if any(escaped(name) != name or _needs(it, seen) for name, it in node.properties.items()):
        return True
    return any(_needs(it, seen) for it in (node.items, node.additional) if it)


def changed(value: Any, node: SchemaNode | None) -> Any:
    """A value as expressions see it."""
    if node is None:
        return value
    if isinstance(value, dict):
        known = node.properties
        return {
            (escaped(name) or name) if name in known else name: changed(
                it, known.get(name) or node.additional
            )
            for name, it in value.items()
        }
    if isinstance(value, list):
        return [changed(it, node.items) for it in value]
    if node.type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _read(value, node.format) if isinstance(value, str) and node.type == "string" else value


def _read(text: str, form: str) -> Any:
    try:
        match form:
            case "date-time" | "date":
                found = datetime.fromisoformat(text.upper())
                stamp = timestamp_pb2.Timestamp()
                stamp.FromDatetime(found if found.tzinfo else found.replace(tzinfo=UTC))
                return stamp
            case "duration":
                span = duration_pb2.Duration()
                span.FromTimedelta(duration(text))
                return span
            case "byte":
                return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return text  # the check of the format says so
    return text
