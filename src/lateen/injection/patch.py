"""What is different? A JSON patch (RFC 6902) from one document to another."""

from __future__ import annotations

from typing import Any

Operation = dict[str, Any]


def diff(before: Any, after: Any, path: str = "") -> list[Operation]:
    """Operations which, applied to ``before``, give ``after``. Objects are compared field by field, lists item by item."""
    if before == after and type(before) is type(after):
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        return _objects(before, after, path)
    if isinstance(before, list) and isinstance(after, list):
        return _lists(before, after, path)
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
    shared = min(len(before), len(after))
    # What is put in front, as sidecars are, moves the rest: then inserting says it in fewer words.
    added = len(after) - len(before)
    if added > 0 and after[added:] == before:
        return [{"op": "add", "path": f"{path}/{index}", "value": after[index]} for index in range(added)]
    made: list[Operation] = []
    for index in range(shared):
        made += diff(before[index], after[index], f"{path}/{index}")
    made += [{"op": "remove", "path": f"{path}/{index}"} for index in range(len(before) - 1, shared - 1, -1)]
    made += [{"op": "add", "path": f"{path}/-", "value": it} for it in after[shared:]]
    return made


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
