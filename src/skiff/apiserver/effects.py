"""What of an object will have no effect here? Warnings for who writes it: nothing is silent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from skiff.api import Object
from skiff.apiserver import context
from skiff.apiserver.no_effect import BY_PLACE, Silent
from skiff.kinds import Kind
from skiff.schema.node import SchemaNode

#: More would hide what else the client is told.
_MOST = 5
#: Of metadata and status nothing is asked for.
_SKIPPED = ("metadata", "status")


def tell(kind: Kind, new: Object, old: Object | None, schema: SchemaNode) -> None:
    """Warn about what the new object asks for in vain, and the old one did not."""
    if kind.custom or context.WARNINGS.get(None) is None:
        return
    before = {it.where for it, _ in found(kind, old, schema)} if old is not None else set()
    places: dict[str, list[str]] = {}
    for it, path in found(kind, new, schema):
        if it.where not in before:
            places.setdefault(it.where, []).append(path)
    context.warn(*sentences(places))


def sentences(places: dict[str, list[str]]) -> list[str]:
    """One for each entry of the table, and at most a handful."""
    made = []
    for where, paths in places.items():
        more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
        made.append(f"skiff: {paths[0]}{more} {BY_PLACE[where].said}")
    if len(made) > _MOST:
        left = len(made) - _MOST + 1
        made[_MOST - 1 :] = [f"skiff: {left} more fields have no effect; docs/skiff.md lists what has none"]
    return made


def found(kind: Kind, obj: Object, schema: SchemaNode) -> Iterator[tuple[Silent, str]]:
    """The entries of the table that an object meets, each with its place."""
    if entry := BY_PLACE.get(kind.kind):
        yield entry, kind.kind
        return
    told = _told_of(schema.ref)
    for name in obj:
        if name not in _SKIPPED:
            yield from _field(told, schema, obj, name, name)


def _field(
    told: Mapping[str, Silent], schema: SchemaNode, around: Object, name: str, path: str
) -> Iterator[tuple[Silent, str]]:
    value = around[name]
    if value is None or value in ({}, [], ""):
        return
    entry = told.get(name)
    if entry is not None:
        if value not in entry.fine and not _acts(entry, around):
            yield entry, path
        return
    for key in value if told and isinstance(value, dict) else ():
        if one := told.get(f"{name}[{key}]"):
            yield one, f"{path}[{key}]"
    if isinstance(value, dict | list) and (child := schema.child(name)) is not None:
        yield from _below(value, child, path)


def _acts(entry: Silent, around: Object) -> bool:
    field, value = entry.unless
    return bool(field) and around.get(field) == value


def _below(value: Any, schema: SchemaNode, path: str) -> Iterator[tuple[Silent, str]]:
    if isinstance(value, dict):
        told = _told_of(schema.ref)
        for name, it in value.items():
            if name in told or isinstance(it, dict | list):
                yield from _field(told, schema, value, name, f"{path}.{name}")
    elif isinstance(value, list) and schema.items is not None:
        for index, it in enumerate(value):
            if isinstance(it, dict | list):
                yield from _below(it, schema.items, f"{path}[{index}]")


@lru_cache(maxsize=2048)
def _told_of(ref: str) -> Mapping[str, Silent]:
    """What the table says of the fields of a definition."""
    called = _called(ref)
    return {
        field: it
        for place, it in BY_PLACE.items()
        for name, _, field in [place.partition(".")]
        if field and name == called
    }


def definition(schema: SchemaNode) -> str:
    """What the table calls it."""
    return _called(schema.ref)


def _called(ref: str) -> str:
    """Ephemeral containers are containers."""
    name = ref.rpartition(".")[2]
    return "Container" if name == "EphemeralContainer" else name
