"""Which objects are meant? Label and field selectors as they stand in a query string."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from skiff.api import Object
from skiff.errors import ApiError

Test = Callable[[Object], bool]

_SET = re.compile(r"^\s*([^\s!=,()]+)\s+(in|notin)\s*\(([^)]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)\s*$")
_FIELD = re.compile(r"^([^!=]+)(==|=|!=)(.*)$")
_EXISTS = re.compile(r"^\s*(!?)\s*([^\s!=,()]+)\s*$")


def by_labels(text: str) -> Test:
    """``app=a,tier!=b,version in (1,2),!old``: all must hold. ApiError 400 for what cannot be read."""
    tests = [_label_test(part) for part in re.split(r",(?![^(]*\))", text) if part.strip()]
    return lambda obj: all(test((obj.get("metadata") or {}).get("labels") or {}) for test in tests)


def _label_test(part: str) -> Callable[[dict[str, str]], bool]:
    if it := _SET.match(part):
        key, values = it[1], {value.strip() for value in it[3].split(",")}
        return (
            (lambda labels: labels.get(key) in values)
            if it[2] == "in"
            else (lambda labels: labels.get(key) not in values)
        )
    if it := _EQUAL.match(part):
        key, value = it[1], it[3]
        return (
            (lambda labels: labels.get(key) != value)
            if it[2] == "!="
            else (lambda labels: labels.get(key) == value)
        )
    if it := _EXISTS.match(part):
        key = it[2]
        return (lambda labels: key not in labels) if it[1] else (lambda labels: key in labels)
    raise ApiError(400, "BadRequest", f"unable to parse requirement: {part!r} is no label selector")


def by_fields(text: str) -> Test:
    """``metadata.name=a,spec.nodeName!=b``. Any scalar field may be named; the real server knows a few per kind."""
    tests = []
    for part in filter(None, (it.strip() for it in text.split(","))):
        found = _FIELD.match(part)
        if not found:
            raise ApiError(400, "BadRequest", f"unable to parse field selector: {part!r}")
        tests.append((found[1].split("."), found[2] != "!=", found[3]))
    return lambda obj: all((_field(obj, path) == value) is equal for path, equal, value in tests)


def exact_name(text: str) -> str:
    """The name that a field selector demands; empty when it allows more than one."""
    for part in text.split(","):
        found = _FIELD.match(part.strip())
        if found and found[1] == "metadata.name" and found[2] != "!=":
            return str(found[3])
    return ""


def _field(obj: Any, path: list[str]) -> str:
    for part in path:
        obj = obj.get(part) if isinstance(obj, dict) else None
    if isinstance(obj, bool):
        return str(obj).lower()
    return "" if obj is None else str(obj)
