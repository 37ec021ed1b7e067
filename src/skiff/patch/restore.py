"""Does a strategic merge patch name values of the right types? In the words of the real server, which restores Go's types."""

from __future__ import annotations

from typing import Any

from skiff.schema.node import SchemaNode

_SCALARS = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}


def mismatch(patch: Any, node: SchemaNode) -> str:
    """What is wrong with the first value of a wrong type; "" when there is none."""
    if patch is None or node.int_or_string or node.format == "quantity":
        return ""
    if node.type == "object":
        if not isinstance(patch, dict):
            form = "struct from:" if node.properties else "map from"
            return f"cannot restore {form} {_kind(patch)}"
        inside = ((it, node.child(name)) for name, it in patch.items() if not name.startswith("$"))
        return next((said for it, child in inside if child and (said := mismatch(it, child))), "")
    if node.type == "array":
        if not isinstance(patch, list):
            return f"cannot restore slice from {_kind(patch)}"
        return next((said for it in patch if node.items and (said := mismatch(it, node.items))), "")
    wanted = _SCALARS.get(node.type)
    if wanted is None or wanted == _kind(patch) or (wanted, _kind(patch)) == ("float64", "int64"):
        return ""
    return f"cannot convert {_kind(patch)} to {wanted}"


def _kind(value: Any) -> str:
    """As Go calls it."""
    names = {str: "string", bool: "bool", int: "int64", float: "float64", dict: "map", list: "slice"}
    return names.get(type(value), "nil")
