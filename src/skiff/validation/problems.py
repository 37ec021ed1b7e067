"""How is one fault said? In Kubernetes' words: tests of controllers and people who search the web know them.

Source of the forms: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/ and what kubectl prints.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from skiff.schema.walk import Problem

IMMUTABLE = "field is immutable"
NEGATIVE = "must be greater than or equal to 0"
POSITIVE = "must be greater than zero"
#: What of a value is shown: a megabyte would help nobody.
_SHOWN = 1000


def shown(value: Any) -> str:
    """A value as it is told to the user."""
    found = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return found if len(found) <= _SHOWN else f"{found[:_SHOWN]}..."


def invalid(path: str, value: Any, said: str) -> Problem:
    return "FieldValueInvalid", f"Invalid value: {shown(value)}: {said}", path


def required(path: str, said: str = "") -> Problem:
    return "FieldValueRequired", f"Required value: {said}" if said else "Required value", path


def duplicate(path: str, value: Any) -> Problem:
    return "FieldValueDuplicate", f"Duplicate value: {shown(value)}", path


def unsupported(path: str, value: Any, known: Iterable[str]) -> Problem:
    listed = ", ".join(shown(it) for it in sorted(known))
    return "FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {listed}", path


def forbidden(path: str, said: str) -> Problem:
    return "FieldValueForbidden", f"Forbidden: {said}", path


def missing(path: str, value: Any) -> Problem:
    return "FieldValueNotFound", f"Not found: {shown(value)}", path


def too_long(path: str, most: int) -> Problem:
    return "FieldValueTooLong", f"Too long: may not be more than {most} bytes", path


def too_many(path: str, count: int, most: int) -> Problem:
    return "FieldValueTooMany", f"Too many: {count}: must have at most {most} items", path


def each(path: str, value: Any, said: Iterable[str]) -> Iterator[Problem]:
    """Every fault of one value."""
    return (invalid(path, value, it) for it in said)


def one_of(path: str, value: Any, known: Iterable[str], *, needed: bool = False) -> Iterator[Problem]:
    """A choice. Nothing at all is right unless it is needed."""
    if value in (None, ""):
        if needed:
            yield required(path)
    elif value not in known:
        yield unsupported(path, value, known)


def not_negative(path: str, value: Any) -> Iterator[Problem]:
    if isinstance(value, int | float) and value < 0:
        yield invalid(path, value, NEGATIVE)


def between(path: str, value: Any, least: int, most: int) -> Iterator[Problem]:
    if isinstance(value, int | float) and not least <= value <= most:
        yield invalid(path, value, f"must be between {least} and {most}, inclusive")


# --- reading objects whose lists and maps may hold null --------------------------------------------


def part(value: Any, name: str) -> dict[str, Any]:
    """A field that is an object; an empty one when it is not there."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def entries(value: Any, name: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, object) for each item of a list. A null in it is an object without fields, as it is for Kubernetes."""
    start = f"{path}.{name}" if path else name
    for index, it in enumerate(listed(value, name)):
        yield f"{start}[{index}]", it if isinstance(it, dict) else {}


def listed(value: Any, name: str) -> list[Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def texts(value: Any, name: str) -> list[str]:
    """A list of texts."""
    return [it if isinstance(it, str) else "" for it in listed(value, name)]


def text(value: Any, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def at(obj: Any, path: str) -> Any:
    """What lies at a path of names; None when it does not go that far."""
    for name in path.split("."):
        obj = obj.get(name) if isinstance(obj, dict) else None
    return obj
