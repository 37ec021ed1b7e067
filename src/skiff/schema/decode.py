"""Does each field hold what its type can hold? As Go's decoder sees a body: one walk, before anything else looks at it.

What does not fit is a 400 of the client; null is nothing; fields that nobody knows are gone. Whatever comes after may rely
on types, though not on fields being there.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from skiff.schema.node import SchemaNode
from skiff.schema.walk import shown

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
}  # fmt: skip
_NAMES: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
}
#: As Go names them in its messages.
_GO = {
    "object": "map[string]interface {}",
    "array": "[]interface {}",
    "boolean": "bool",
    "integer": "int64",
    "number": "float64",
}
_BOUNDS = {"int32": 1 << 31, "": 1 << 63, "int64": 1 << 63}
_ZERO: dict[str, Any] = {"object": {}, "array": [], "string": "", "integer": 0, "number": 0, "boolean": False}


#: Objects in a list. An empty one is two bytes, and gets some hundred of defaults; no real object has as many.
MOST_ITEMS = 20_000


class MismatchError(ValueError):
    """A field holds what its type cannot hold; the message says which, as Go's does."""


def decoded(value: Any, node: SchemaNode, place: str = "") -> Any:
    """The value as its built-in type holds it; MismatchError. The input is not changed."""
    if isinstance(value, dict) and node.type in ("object", ""):
        return _object(value, node, place)
    if isinstance(value, list) and node.type in ("array", ""):
        inside = node.items
        if inside is None:
            return value
        if len(value) > MOST_ITEMS and inside.type == "object":
            raise MismatchError(f"{place or '.'} has {len(value)} items, of which there may be {MOST_ITEMS}")
        return [_item(it, inside, place) for it in value]
    if node.int_or_string or node.format == "quantity":
        fits = isinstance(value, str | int | float) and not isinstance(value, bool)
        if not fits or (node.int_or_string and isinstance(value, float)):
            raise _mismatch(value, node, place)
        return value
    wanted = _TYPES.get(node.type)
    if wanted is None:
        return value
    if node.type in ("integer", "number"):
        return _number(value, node, place)
    if not isinstance(value, wanted):
        raise _mismatch(value, node, place)
    if node.format == "date-time" and isinstance(value, str) and value and not _is_time(value):
        form = "2006-01-02T15:04:05Z07:00"
        raise MismatchError(f'{place}: parsing time "{shown(value)}" as "{form}": cannot parse')
    return value


def _is_time(text: str) -> bool:
    try:
        return _TIME.fullmatch(text) is not None and bool(datetime.fromisoformat(text))
    except ValueError:  # the 31st of a short month
        return False


def _object(value: dict[str, Any], node: SchemaNode, place: str) -> dict[str, Any]:
    open_ = node.preserve_unknown or not (node.properties or node.type == "object")
    made: dict[str, Any] = {}
    for name, it in value.items():
        child = node.child(name)
        if child is None:
            if open_:
                made[name] = it
        elif child.plain is type(it):
            made[name] = it
        elif it is not None:
            made[name] = decoded(it, child, f"{place}.{name}")
        elif child.preserve_unknown and not child.type:
            made[name] = None  # it holds any JSON, and null is that
    return made


def _item(value: Any, node: SchemaNode, place: str) -> Any:
    """Null in a list is the zero of its type, as in Go."""
    if value is None and node.type in _ZERO:
        value = _ZERO[node.type]
    return decoded(value, node, place)


def _number(value: Any, node: SchemaNode, place: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(value, node, place)
    if node.type == "integer":
        if isinstance(value, float):
            if not value.is_integer():
                raise _mismatch(value, node, place)
            value = int(value)
        most = _BOUNDS.get(node.format, 1 << 63)
        if not -most <= value < most:
            raise _mismatch(value, node, place)
    return value


def _mismatch(value: Any, node: SchemaNode, place: str) -> MismatchError:
    said = _NAMES.get(type(value), "null")
    if said == "number":
        said = f"number {value}"[:60]
    wanted = (
        node.format if node.format in ("int32", "int64") else _GO.get(node.type, node.type or "IntOrString")
    )
    return MismatchError(
        f"json: cannot unmarshal {said} into Go struct field {place or '.'} of type {wanted}"
    )
