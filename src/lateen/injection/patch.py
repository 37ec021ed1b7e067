"""What is different? A JSON patch (RFC 6902) from one document to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Operation = dict[str, Any]


def diff(before: Any, after: Any, path: str = "") -> list[Operation]:
    """Operations which, applied to ``before``, give ``after``. Objects are compared field by field, lists item by item."""
    if isinstance(before, dict) and isinstance(after, dict):
        return _objects(before, after, path)
    if isinstance(before, list) and isinstance(after, list):
        return _lists(before, after, path)
    # Types too: to Python true is 1, to JSON it is not.
    if type(before) is type(after) and before == after:
        return []
    return [{"op": "replace", "path": path, "value": after}]


def _objects(before: dict[str, Any], after: dict[str, Any], path: str) -> list[Operation]:
    made: list[Operation] = [
        {"op": "remove", "path": f"{path}/{_escaped(name)}"} for name in before if name not in after
    ]
    for name, value in after.items():
        place = f"{path}/{_escaped(name)}"
        if name in before:
            made += diff(before[name], value, place)
        else:
            made.append({"op": "add", "path": place, "value": value})
    return made


def _lists(before: list[Any], after: list[Any], path: str) -> list[Operation]:
    kept = _kept(before, after)
    if kept is not None:
        return _insertions(before, after, kept, path)
    shared = min(len(before), len(after))
    made: list[Operation] = []
    for index in range(shared):
        made += diff(before[index], after[index], f"{path}/{index}")
    made += [{"op": "remove", "path": f"{path}/{index}"} for index in range(len(before) - 1, shared - 1, -1)]
    made += [{"op": "add", "path": f"{path}/-", "value": it} for it in after[shared:]]
    return made


def _kept(before: Sequence[Any], after: Sequence[Any]) -> list[int] | None:
    """Where in ``after`` each item of ``before`` is, if they are all there in the same order."""
    places: list[int] = []
    position = 0
    for it in before:
        while position < len(after) and not _same(it, after[position]):
            position += 1
        if position == len(after):
            return None
        places.append(position)
        position += 1
    return places


def _same(one: Any, other: Any) -> bool:
    """Whether it is one thing, perhaps changed: Kubernetes tells the items of its lists apart by name."""
    if isinstance(one, dict) and isinstance(other, dict) and "name" in one:
        return bool(one["name"] == other.get("name"))
    return _equal(one, other)


def _equal(one: Any, other: Any) -> bool:
    """Equal to JSON: to Python true is 1. ``diff`` would look at each level of a nested list twice as often as above it."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        return all(_equal(it, other[name]) for name, it in one.items())
    return not isinstance(one, list) or all(map(_equal, one, other))


def _insertions(before: list[Any], after: list[Any], kept: list[int], path: str) -> list[Operation]:
    """What is new is put where it belongs, in the order of the list, so that every index is right when its turn comes."""
    made: list[Operation] = []
    where = {place: index for index, place in enumerate(kept)}
    for place, it in enumerate(after):
        if place in where:
            # What has no name was found by being equal.
            named = isinstance(it, dict) and "name" in it
            made += diff(before[where[place]], it, f"{path}/{place}") if named else []
        else:
            made.append({"op": "add", "path": f"{path}/{place}", "value": it})
    return made


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
