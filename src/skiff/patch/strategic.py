"""Strategic merge patch: a merge patch that knows which lists are merged, and by which key.

Rules: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/ and the directives
``$patch``, ``$retainKeys``, ``$deleteFromPrimitiveList/<field>`` and ``$setElementOrder/<field>``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from skiff.errors import ApiError
from skiff.schema.node import ANYTHING, SchemaNode

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
            raise ApiError(400, "BadRequest", f"$patch: {other!r} is not one of merge, replace, delete")
    if "$retainKeys" in patch:
        result = {key: value for key, value in result.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        _merge_field(result, key, value, schema.child(key) or ANYTHING, patch.get(_ORDER + key))
    for key, value in patch.items():
        if key.startswith(_DELETE) and isinstance(result.get(field := key.removeprefix(_DELETE)), list):
            result[field] = [it for it in result[field] if it not in value]
        elif key.startswith(_ORDER) and (field := key.removeprefix(_ORDER)) not in patch and field in result:
            result[field] = _ordered(result[field], value, (schema.child(field) or ANYTHING).merge_key)
        elif key.startswith("$") and key not in _DIRECTIVES and not key.startswith((_DELETE, _ORDER)):
            raise ApiError(400, "BadRequest", f"{key} is no directive of a strategic merge patch")
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
        merged = list(dict.fromkeys([*document, *patch]))
        return _ordered(merged, order, "")
    result = [dict(it) if isinstance(it, dict) else it for it in document]
    for it in patch:
        if not isinstance(it, dict) or key not in it:
            raise ApiError(400, "BadRequest", f"map: {it} does not contain declared merge key: {key}")
        places = [n for n, old in enumerate(result) if isinstance(old, dict) and old.get(key) == it[key]]
        if it.get("$patch") == "delete":
            result = [old for n, old in enumerate(result) if n not in places]
        elif places:
            result[places[0]] = _merge_map(result[places[0]], it, schema.items or ANYTHING)
        else:
            result.append(_merge_map({}, it, schema.items or ANYTHING))
    return _ordered(result, order, key)


def _ordered(items: list[Any], order: list[Any] | None, key: str) -> list[Any]:
    """Items in the order the patch asks for; those it does not name keep their place before what followed them."""
    if not order:
        return items
    wanted = [_name(it, key) for it in order]
    named = {_hashable(_name(it, key)): it for it in items}
    listed = [named[_hashable(it)] for it in wanted if _hashable(it) in named]
    rest = [it for it in items if _name(it, key) not in wanted]
    if not rest:
        return listed
    position = {_hashable(_name(it, key)): n for n, it in enumerate(items)}
    result: list[Any] = []
    for it in listed:
        here = position[_hashable(_name(it, key))]
        while rest and position[_hashable(_name(rest[0], key))] < here:
            result.append(rest.pop(0))
        result.append(it)
    return [*result, *rest]


def _name(it: Any, key: str) -> Any:
    return it.get(key) if key and isinstance(it, dict) else it


def _hashable(it: Any) -> Any:
    return it if isinstance(it, str | int | float | bool | None) else repr(it)


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
