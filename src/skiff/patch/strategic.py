"""Strategic merge patch: a merge patch that knows which lists are merged, and by which key.

Rules: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/ and the directives
``$patch``, ``$retainKeys``, ``$deleteFromPrimitiveList/<field>`` and ``$setElementOrder/<field>``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from skiff.errors import ApiError
from skiff.schema.node import ANYTHING, SchemaNode
from skiff.schema.walk import hashed

_DELETE, _ORDER = "$deleteFromPrimitiveList/", "$setElementOrder/"
_DIRECTIVES = ("$patch", "$retainKeys")


def strategic_merge_patch(document: Any, patch: Any, schema: SchemaNode) -> Any:
    """The document with the patch applied. Neither is changed. ApiError 400 for a directive nobody knows."""
    if not isinstance(patch, dict):
        raise ApiError(400, "BadRequest", "a strategic merge patch is an object")
    return _merge_map(document if isinstance(document, dict) else {}, patch, schema)


def _merge_map(document: dict[str, Any], patch: dict[str, Any], schema: SchemaNode) -> dict[str, Any]:
    match patch.get("$patch"):
        case None | "merge":
            result = dict(document)
        case "replace":
            plain: dict[str, Any] = _without_directives(patch)
            return plain
        case "delete":
            return {}
        case other:
            raise ApiError(
                400, "BadRequest", f"$patch: {str(other)[:100]!r} is not one of merge, replace, delete"
            )
    if "$retainKeys" in patch:
        kept = {_hashable(it) for it in _listed(patch, "$retainKeys")}
        result = {key: value for key, value in result.items() if key in kept}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        order = _listed(patch, _ORDER + key) if _ORDER + key in patch else None
        _merge_field(result, key, value, schema.child(key) or ANYTHING, order)
    for key in patch:
        if key.startswith(_DELETE) and isinstance(result.get(field := key.removeprefix(_DELETE)), list):
            gone = {_hashable(it) for it in _listed(patch, key)}
            result[field] = [it for it in result[field] if _hashable(it) not in gone]
        elif key.startswith(_ORDER) and (field := key.removeprefix(_ORDER)) not in patch and field in result:
            order, merge_key = _listed(patch, key), (schema.child(field) or ANYTHING).merge_key
            if isinstance(result[field], list):
                result[field] = _ordered(result[field], order, merge_key)
        elif key.startswith("$") and key not in _DIRECTIVES and not key.startswith((_DELETE, _ORDER)):
            raise ApiError(400, "BadRequest", f"{key[:200]} is no directive of a strategic merge patch")
    return result


def _merge_field(
    result: dict[str, Any], key: str, value: Any, schema: SchemaNode, order: list[Any] | None
) -> None:
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict):
        if "replace" in schema.merge_strategy.split(","):
            result[key] = _without_directives(value)
        else:
            before = result.get(key)
            result[key] = _merge_map(before if isinstance(before, dict) else {}, value, schema)
    elif isinstance(value, list) and "merge" in schema.merge_strategy.split(","):
        before = result.get(key)
        result[key] = _merge_list(before if isinstance(before, list) else [], value, schema, order)
    else:
        result[key] = _without_directives(value)


def _merge_list(
    document: list[Any], patch: list[Any], schema: SchemaNode, order: list[Any] | None
) -> list[Any]:
    if any(isinstance(it, dict) and it.get("$patch") == "replace" for it in patch):
        return [_without_directives(it) for it in patch if not (isinstance(it, dict) and "$patch" in it)]
    key = schema.merge_key
    if not key:  # a set of plain values
        merged = {_hashable(it): it for it in reversed([*document, *patch])}
        return _ordered(
            [merged.pop(_hashable(it)) for it in [*document, *patch] if _hashable(it) in merged], order, ""
        )
    return _ordered(_merged_by_key(document, patch, schema, key), order, key)


def _merged_by_key(document: list[Any], patch: list[Any], schema: SchemaNode, key: str) -> list[Any]:
    result: list[Any] = list(document)
    places: dict[Any, list[int]] = {}
    for n, it in enumerate(result):
        if isinstance(it, dict) and key in it:
            places.setdefault(_hashable(it[key]), []).append(n)
    gone: set[int] = set()
    for it in patch:
        if not isinstance(it, dict) or key not in it:
            raise ApiError(
                400, "BadRequest", f"map: {str(it)[:200]} does not contain declared merge key: {key}"
            )
        name = _hashable(it[key])
        if it.get("$patch") == "delete":
            gone.update(places.pop(name, ()))
        elif name in places:
            place = places[name][0]
            result[place] = _merge_map(result[place], it, schema.items or ANYTHING)
        else:
            places[name] = [len(result)]
            result.append(_merge_map({}, it, schema.items or ANYTHING))
    return [it for n, it in enumerate(result) if n not in gone]


def _ordered(items: list[Any], order: list[Any] | None, key: str) -> list[Any]:
    """Items in the order the patch asks for; those it does not name keep their place before what followed them."""
    if not order:
        return items
    named = {_hashable(_name(it, key)): (n, it) for n, it in enumerate(items)}
    wanted = dict.fromkeys(_hashable(_name(it, key)) for it in order)
    listed = [named[it] for it in wanted if it in named]
    rest = deque((n, it) for n, it in enumerate(items) if _hashable(_name(it, key)) not in wanted)
    result: list[Any] = []
    for here, it in listed:
        while rest and rest[0][0] < here:
            result.append(rest.popleft()[1])
        result.append(it)
    return [*result, *(it for _, it in rest)]


def _listed(patch: dict[str, Any], directive: str) -> list[Any]:
    found = patch[directive]
    if not isinstance(found, list):
        raise ApiError(400, "BadRequest", f"{directive[:200]} of a strategic merge patch must be a list")
    return found


def _name(it: Any, key: str) -> Any:
    return it.get(key) if key and isinstance(it, dict) else it


def _hashable(it: Any) -> Any:
    """Something equal only for what is equal."""
    return it if isinstance(it, str | int | float | bool | None) else ("", hashed(it))


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            k: _without_directives(it) for k, it in value.items() if not k.startswith("$") and it is not None
        }
    if isinstance(value, list):
        return [_without_directives(it) for it in _kept(value)]
    return value


def _kept(items: Iterable[Any]) -> list[Any]:
    return [it for it in items if not (isinstance(it, dict) and it.get("$patch") == "delete")]
