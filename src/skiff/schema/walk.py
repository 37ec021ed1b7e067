"""Does an object fit its schema? Checks, unknown fields, pruning and defaults, by one walk each."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec
import re2

from skiff.schema import formats
from skiff.schema.node import SchemaNode

#: (reason, message, path), as ``skiff.errors.invalid`` takes them.
Problem = tuple[str, str, str]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
}  # fmt: skip

_NAMED = {it: name for name, (it, *_) in reversed(_TYPES.items())} | {float: "number"}


#: Whoever has more problems than that reads no further; nor do we.
MOST_PROBLEMS = 100
_MOST_SHOWN = 500


def validate(obj: Any, node: SchemaNode, path: str = "") -> list[Problem]:
    """What is wrong: types, required fields, enumerations and limits, the first hundred. Null counts as absent."""
    return list(itertools.islice(_problems(obj, node, path), MOST_PROBLEMS))


def _fits(obj: Any, node: SchemaNode, path: str) -> bool:
    return next(_problems(obj, node, path), None) is None


def _problems(obj: Any, node: SchemaNode, path: str) -> Iterator[Problem]:
    if obj is None:
        return
    if wrong := _type_problem(obj, node, path):
        yield wrong
        return
    if node.enum and obj not in node.enum:
        said = ", ".join(f'"{it}"' for it in node.enum)
        yield "FieldValueNotSupported", f'Unsupported value: "{shown(obj)}": supported values: {said}', path
    if node.limits:  # most have neither, and this walk is what a write costs
        yield from _limit_problems(obj, node, path)
    if node.combined or node.unique:
        yield from _combined_problems(obj, node, path)
    if isinstance(obj, dict):
        for name in node.required:
            if obj.get(name) is None:
                yield "FieldValueRequired", "Required value", _at(path, name)
        for name, value in obj.items():
            if (child := node.child(name)) and child.plain is not type(value):
                yield from _problems(value, child, _at(path, name))
    elif isinstance(obj, list) and node.items:
        for index, value in enumerate(obj):
            if value is None and node.custom and node.items.type and not node.items.nullable:
                said = f'Invalid value: "null": {path}[{index}] in body must be of type {node.items.type}: "null"'
                yield "FieldValueTypeInvalid", said, f"{path}[{index}]"
            elif value is None and node.items.type == "object" and not node.items.nullable:
                # In a list nothing is absent, and whoever reads it counts on objects.
                yield "FieldValueRequired", "Required value", f"{path}[{index}]"
            yield from _problems(value, node.items, f"{path}[{index}]")


def _type_problem(obj: Any, node: SchemaNode, path: str) -> Problem | None:
    if node.int_or_string:
        fits = isinstance(obj, int | str) and not isinstance(obj, bool)
        wanted = "integer or string"
    elif node.format == "quantity":  # clients may write 1 instead of "1"
        fits, wanted = isinstance(obj, int | float | str) and not isinstance(obj, bool), "quantity"
    elif node.type not in _TYPES:
        return None
    else:
        fits, wanted = isinstance(obj, _TYPES[node.type]), node.type
        if isinstance(obj, bool) and node.type in ("integer", "number"):
            fits = False
        if isinstance(obj, float) and node.type == "integer":
            fits = obj.is_integer()
    if fits:
        return None
    return (
        "FieldValueTypeInvalid",
        f"Invalid value: {_NAMED.get(type(obj), type(obj).__name__)}: must be of type {wanted}",
        path,
    )


def _limit_problems(obj: Any, node: SchemaNode, path: str) -> Iterator[Problem]:
    limits = node.limits
    number = obj if isinstance(obj, int | float) and not isinstance(obj, bool) else None
    size = len(obj) if isinstance(obj, str | list | dict) else None
    words: dict[type, tuple[str, str]] = {
        str: ("minLength", "maxLength"),
        list: ("minItems", "maxItems"),
        dict: ("minProperties", "maxProperties"),
    }
    least, most = words.get(type(obj), ("minimum", "maximum"))
    measured = number if size is None else size
    if measured is not None and least in limits and measured < limits[least]:
        yield "FieldValueInvalid", f"Invalid value: should be at least {limits[least]} ({least})", path
    if measured is not None and most in limits and measured > limits[most]:
        yield "FieldValueInvalid", f"Invalid value: should be at most {limits[most]} ({most})", path
    if isinstance(obj, str) and "format" in limits and not formats.fits(obj, limits["format"]):
        said = json.dumps(obj, ensure_ascii=False)
        yield (
            "FieldValueInvalid",
            f"Invalid value: {said}: {path} in body must be of type {limits['format']}: {said}",
            path,
        )
    if isinstance(obj, str) and "pattern" in limits and not _matches(limits["pattern"], obj):
        yield (
            "FieldValueInvalid",
            f"Invalid value: \"{shown(obj)}\": should match '{limits['pattern']}'",
            path,
        )
    if number is not None:
        yield from _number_problems(number, limits, path)


def _number_problems(number: float, limits: Mapping[str, Any], path: str) -> Iterator[Problem]:
    if limits.get("exclusiveMinimum") is True and number == limits.get("minimum"):
        yield "FieldValueInvalid", f"Invalid value: {number}: should be greater than {number}", path
    if limits.get("exclusiveMaximum") is True and number == limits.get("maximum"):
        yield "FieldValueInvalid", f"Invalid value: {number}: should be less than {number}", path
    if (step := limits.get("multipleOf")) and number % step:
        yield "FieldValueInvalid", f"Invalid value: {number}: should be a multiple of {step}", path


def _combined_problems(obj: Any, node: SchemaNode, path: str) -> Iterator[Problem]:
    for it in node.combined.get("allOf", ()):
        yield from _problems(obj, it, path)
    if (some := node.combined.get("anyOf")) and not any(_fits(obj, it, path) for it in some):
        yield "FieldValueInvalid", f'Invalid value: "{path}" must validate at least one schema (anyOf)', path
    if one := node.combined.get("oneOf"):
        found = sum(_fits(obj, it, path) for it in one)
        if found != 1:
            said = f'Invalid value: "{path}" must validate one and only one schema (oneOf). Found {found} valid alternatives'
            yield "FieldValueInvalid", said, path
    if any(_fits(obj, it, path) for it in node.combined.get("not", ())):
        yield "FieldValueInvalid", f'Invalid value: "{path}" must not validate the schema (not)', path
    if node.unique and isinstance(obj, list):
        yield from _duplicates(obj, node, path)


def _duplicates(items: list[Any], node: SchemaNode, path: str) -> Iterator[Problem]:
    seen: set[bytes] = set()
    for index, it in enumerate(items):
        inside = node.items.properties if node.items else {}
        key = it
        if node.list_keys and isinstance(it, dict):
            key = {
                name: it.get(name, inside[name].default if name in inside else None)
                for name in node.list_keys
            }
        if (form := hashed(key)) in seen:
            yield "FieldValueDuplicate", f"Duplicate value: {shown(json.dumps(key))}", f"{path}[{index}]"
        seen.add(form)


def shown(value: Any) -> str:
    """As it stands in a message, which is for people: the beginning of what is long."""
    text = str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Any:
    """By RE2, as in Kubernetes: patterns come from users, and Python's own engine may search for hours. ``re2.error``
    for what it does not understand."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _matches(pattern: str, text: str) -> bool:
    try:
        return compiled(pattern).search(text) is not None
    except re2.error:
        return False  # stored before patterns were looked at: nothing fits it, and the message names it


def hashed(value: Any) -> bytes:
    """Equal for equal JSON only: looked for in a set, where comparing one by one would take the square of a list."""
    return msgspec.json.encode(value, order="deterministic")


def unknown_fields(obj: Any, node: SchemaNode, path: str = "") -> list[str]:
    """Paths of fields the schema does not know, for ``fieldValidation=Strict``."""
    if isinstance(obj, list):
        if not node.items:
            return []
        return [it for i, value in enumerate(obj) for it in unknown_fields(value, node.items, f"{path}[{i}]")]
    if not isinstance(obj, dict):
        return []
    found: list[str] = []
    for name, value in obj.items():
        child = node.child(name)
        if child:
            found += unknown_fields(value, child, _at(path, name))
        elif not node.preserve_unknown and (node.properties or node.type == "object"):
            found.append(_at(path, name))
    return found


def prune(obj: Any, node: SchemaNode) -> Any:
    """The object without what the schema does not know. The input is not changed."""
    if isinstance(obj, list):
        return [prune(it, node.items) for it in obj] if node.items else obj
    if not isinstance(obj, dict):
        return obj
    strict = not node.preserve_unknown and bool(node.properties or node.type == "object")
    made: dict[str, Any] = {}
    for name, value in obj.items():
        child = node.child(name)
        if child:
            made[name] = prune(value, child)
        elif not strict:
            made[name] = value
    return made


def apply_defaults(obj: Any, node: SchemaNode) -> Any:
    """The object with the schema's defaults where a field is absent. The input is not changed."""
    if isinstance(obj, list):
        return [apply_defaults(it, node.items) for it in obj] if node.items else obj
    if not isinstance(obj, dict):
        return obj
    made = dict(obj)
    for name, child in node.defaulted:
        if name not in made or (made[name] is None and not child.nullable):
            made[name] = child.default
    for name, value in made.items():
        if isinstance(value, dict | list) and (child_node := node.child(name)):
            made[name] = apply_defaults(value, child_node)
    return made


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
