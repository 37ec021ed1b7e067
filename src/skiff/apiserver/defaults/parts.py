"""How is a default put into an object? Only where nothing is, or null."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def put(target: dict[str, Any], **defaults: Any) -> None:
    for name, value in defaults.items():
        if target.get(name) is None:
            target[name] = value


def part(target: dict[str, Any], name: str) -> dict[str, Any]:
    """A field that is an object; made when it is not there."""
    if not isinstance(target.get(name), dict):
        target[name] = {}
    found: dict[str, Any] = target[name]
    return found


def inside(target: Any, *names: str) -> dict[str, Any]:
    """A field that is an object, at a path of names; an empty one, which belongs to nobody, when it is not there."""
    for name in names:
        target = target.get(name) if isinstance(target, dict) else None
    return target if isinstance(target, dict) else {}


def dicts(value: Any) -> Iterable[dict[str, Any]]:
    return (it for it in value if isinstance(it, dict)) if isinstance(value, list) else ()
