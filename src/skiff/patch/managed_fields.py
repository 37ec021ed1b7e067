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


def owned(obj: dict[str, Any], schema: SchemaNode) -> dict[Path, Any]:
    """All fields of an object that somebody may own, each with its value. One walk: objects are compared by it often."""
    found: dict[Path, Any] = {}
    for name, value in obj.items():
        if name in ("apiVersion", "kind") or value is None:
            continue
        held = value
        if name == "metadata" and isinstance(value, dict):
            held = {key: it for key, it in value.items() if key not in _SERVERS}
            if not held:
                continue
        _collect(found, (f"f:{name}",), held, schema.child(name) or ANYTHING)
    return found


def _collect(found: dict[Path, Any], place: Path, value: Any, node: SchemaNode) -> None:
    before = len(found)
    if isinstance(value, dict) and node.map_type != "atomic":
        for key, it in value.items():
            if it is not None:
                _collect(found, (*place, f"f:{key}"), it, node.child(key) or ANYTHING)
    elif isinstance(value, list) and node.list_type == "map":
        inside = node.items or ANYTHING
        for it in value:
            if isinstance(it, dict):
                item = (*place, key_of(it, node))
                found[*item, SELF] = SELF
                if it:
                    _collect(found, item, it, inside)
    elif isinstance(value, list) and node.list_type == "set":
        for it in value:
            found[*place, _value(it)] = it
    if len(found) == before and (not place[-1].startswith("k:")):
        found[place] = value


def key_of(item: dict[str, Any], node: SchemaNode) -> str:
    """``k:{"name":"app"}``; a key that is left out has its default."""
    inside = node.items or ANYTHING
    keys = {}
    for name in sorted(node.list_keys):
        found = item.get(name)
        if found is None and name not in item and (child := inside.child(name)):
            found = child.default
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


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()


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
