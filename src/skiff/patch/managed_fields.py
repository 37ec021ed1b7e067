"""Which fields does a value consist of? Sets of fields in the form of ``metadata.managedFields`` (FieldsV1).

A set is a tree: ``f:name`` is a field, ``k:{...}`` an item of a list by its keys, ``v:...`` an item by its value, ``.`` the
place itself. https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

from skiff.schema.node import ANYTHING, SchemaNode

Fields: TypeAlias = dict[str, Any]
#: From the root to a leaf.
Path: TypeAlias = tuple[str, ...]

#: The place itself.
SELF = "."
#: The server's own part of the metadata belongs to nobody.
_SERVERS = {
    "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "selfLink",
    "deletionGracePeriodSeconds", "managedFields",
}  # fmt: skip


def fields_of(obj: dict[str, Any], schema: SchemaNode) -> Fields:
    """All fields of an object that somebody may own."""
    made: Fields = {}
    for name, value in obj.items():
        if name in ("apiVersion", "kind") or value is None:
            continue
        owned = value
        if name == "metadata" and isinstance(value, dict):
            owned = {key: it for key, it in value.items() if key not in _SERVERS}
            if not owned:
                continue
        made[f"f:{name}"] = _fields(owned, schema.child(name) or ANYTHING)
    return made


def _fields(value: Any, node: SchemaNode) -> Fields:
    if isinstance(value, dict) and node.map_type != "atomic":
        return {
            f"f:{key}": _fields(it, node.child(key) or ANYTHING)
            for key, it in value.items()
            if it is not None
        }
    if isinstance(value, list) and node.list_type == "map":
        inside = node.items or ANYTHING
        return {key_of(it, node): {SELF: {}, **_fields(it, inside)} for it in value if isinstance(it, dict)}
    if isinstance(value, list) and node.list_type == "set":
        return {_value(it): {} for it in value}
    return {}


def key_of(item: dict[str, Any], node: SchemaNode) -> str:
    """``k:{"name":"app"}``; a key that is left out has its default."""
    inside = node.items or ANYTHING
    keys = {}
    for name in sorted(node.list_keys):
        child = inside.child(name)
        found = item.get(name, child.default if child else None)
        if found is not None:
            keys[name] = found
    return "k:" + msgspec.json.encode(keys).decode()


def _value(item: Any) -> str:
    return "v:" + msgspec.json.encode(item).decode()


def leaves(fields: Fields, before: Path = ()) -> Iterator[Path]:
    """Every path that ends in the set."""
    for name, inside in fields.items():
        if inside:
            yield from leaves(inside, (*before, name))
        else:
            yield (*before, name)


def tree(paths: Iterator[Path]) -> Fields:
    """The set that consists of these paths."""
    made: Fields = {}
    for path in paths:
        place = made
        for name in path:
            place = place.setdefault(name, {})
    return made


def value_at(obj: Any, path: Path, schema: SchemaNode) -> Any:
    """What lies at a path; ``MISSING`` when nothing does."""
    value, node = obj, schema
    for step in path:
        if step == SELF:
            return SELF
        value, node = _step(value, step, node)
        if value is MISSING:
            return MISSING
    return value


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()


def _step(value: Any, step: str, node: SchemaNode) -> tuple[Any, SchemaNode]:
    form, name = step[:2], step[2:]
    if form == "f:" and isinstance(value, dict):
        return value.get(name, MISSING), node.child(name) or ANYTHING
    if form == "k:" and isinstance(value, list):
        found = next((it for it in value if isinstance(it, dict) and key_of(it, node) == step), MISSING)
        return found, node.items or ANYTHING
    if form == "v:" and isinstance(value, list):
        return next((it for it in value if _value(it) == step), MISSING), ANYTHING
    return MISSING, ANYTHING


def without(obj: Any, path: Path, schema: SchemaNode) -> Any:
    """The value without what lies at a path; places that become empty by it go too. The input is not changed."""
    step, rest = path[0], path[1:]
    form, name = step[:2], step[2:]
    if form == "f:" and isinstance(obj, dict) and name in obj:
        child = schema.child(name) or ANYTHING
        inside = without(obj[name], rest, child) if rest else MISSING
        if inside is MISSING or (rest and inside in ({}, []) and obj[name] not in ({}, [])):
            return {key: it for key, it in obj.items() if key != name}
        return {**obj, name: inside}
    if form == "k:" and isinstance(obj, list):
        return _without_item(obj, step, rest, schema)
    if form == "v:" and isinstance(obj, list):
        return [it for it in obj if _value(it) != step]
    return obj


def _without_item(items: list[Any], step: str, rest: Path, schema: SchemaNode) -> list[Any]:
    made: list[Any] = []
    for it in items:
        if not isinstance(it, dict) or key_of(it, schema) != step:
            made.append(it)
        elif rest and rest != (SELF,):
            made.append(without(it, rest, schema.items or ANYTHING))
    return made
