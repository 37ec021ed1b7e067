"""Which fields does a value consist of? Sets of fields in the form of ``metadata.managedFields`` (FieldsV1).

A set is a tree: ``f:name`` is a field, ``k:{...}`` an item of a list by its keys, ``v:...`` an item by its value, ``.`` the
place itself. https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


def all_of(obj: dict[str, Any], schema: SchemaNode) -> Fields:
    """The set of all that ``owned`` finds, as a tree: one walk for a new object, whose fields all belong to one."""
    made: Fields = {}
    for name in sorted(obj):
        value = obj[name]
        if name in ("apiVersion", "kind") or value is None:
            continue
        if name == "metadata" and isinstance(value, dict):
            value = {key: it for key, it in value.items() if key not in _SERVERS}
            if not value:
                continue
        _fill(made.setdefault(f"f:{name}", {}), value, schema.child(name) or ANYTHING)
    return made


def _fill(made: Fields, value: Any, node: SchemaNode) -> None:
    if isinstance(value, dict):
        if node.map_type != "atomic":
            for key in sorted(value):
                it = value[key]
                if isinstance(it, dict | list):
                    _fill(made.setdefault(f"f:{key}", {}), it, node.child(key) or ANYTHING)
                elif it is not None:
                    made[f"f:{key}"] = {}
    elif isinstance(value, list):
        if node.list_type == "map":
            for key, it in sorted(
                ((key_of(it, node), it) for it in value if isinstance(it, dict)), key=_first
            ):
                place = made.setdefault(key, {})
                place[SELF] = {}
                _fill(place, it, node.items or ANYTHING)
        elif node.list_type == "set":
            for word in sorted(map(_value, value)):
                made[word] = {}


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]


def leaves(fields: Fields, before: Path = ()) -> Iterator[Path]:
    """Every path that ends in the set."""
    for name, inside in fields.items():
        if inside and isinstance(inside, dict):  # clients may write what they like
            yield from leaves(inside, (*before, name))
        elif name.startswith(
            "k:"
        ):  # of an item nothing but itself: clients in Go, as kubectl, leave out the point
            yield (*before, name, SELF)
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


#: In a tree of what goes: all of this place.
_WHOLE: Any = None


def without(obj: Any, gone: Iterable[Path], schema: SchemaNode) -> Any:
    """The value without what lies at these paths; places that become empty by it go too. The input is not changed.

    One walk for all paths: objects may have a hundred thousand of them.
    """
    made: Fields = {}
    for path in gone:
        place: Any = made
        for name in path[:-1]:
            place = place.setdefault(name, {})
            if place is _WHOLE:
                break
        else:
            place[path[-1]] = _WHOLE
    return _cut(obj, made, schema)


def _cut(obj: Any, gone: Fields, schema: SchemaNode) -> Any:
    if isinstance(obj, dict):
        made = {}
        for name, value in obj.items():
            inside = gone.get(f"f:{name}", MISSING)
            if inside is MISSING:
                made[name] = value
            elif inside is not _WHOLE:
                left = _cut(value, inside, schema.child(name) or ANYTHING)
                if left or not value:
                    made[name] = left
        return made
    if isinstance(obj, list):
        return [it for old in obj if (it := _cut_item(old, gone, schema)) is not MISSING]
    return obj


def _cut_item(item: Any, gone: Fields, schema: SchemaNode) -> Any:
    if _value(item) in gone:
        return MISSING
    inside = gone.get(key_of(item, schema), MISSING) if isinstance(item, dict) else MISSING
    if inside is MISSING:
        return item
    return MISSING if inside is _WHOLE else _cut(item, inside, schema.items or ANYTHING)
