"""Reading documents from outside, in which whatever is optional may be absent or null.

A real API server leaves ``status`` out until a controller has looked, answers ``conditions: null``, and sends lists whose
``items`` are null. Whoever reads an answer reads it by these functions: what is not there, is null or has another shape
is empty, and never a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

Object = dict[str, Any]

_NOTHING: Mapping[str, Any] = {}


def part(tree: Any, *path: str) -> Mapping[str, Any]:
    """The mapping under a path; empty when there is none."""
    found = at(tree, *path)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else _NOTHING


def parts(tree: Any, *path: str) -> list[Object]:
    """The mappings in the list under a path; empty when there is none. What is no mapping is left out."""
    found = at(tree, *path)
    return [it for it in found if isinstance(it, dict)] if isinstance(found, list) else []


def text(tree: Any, *path: str, default: str = "") -> str:
    """The text under a path."""
    found = at(tree, *path)
    return found if isinstance(found, str) else default


def number(tree: Any, *path: str, default: int = 0) -> int:
    """The whole number under a path."""
    found = at(tree, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def texts(tree: Any, *path: str) -> dict[str, str]:
    """The mapping from text to text under a path: labels, annotations, the data of a ConfigMap."""
    return {key: it for key, it in part(tree, *path).items() if isinstance(it, str)}


def at(tree: Any, *path: str) -> Any:
    """Whatever lies under a path; None when the path ends before."""
    for name in path:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(name)
    return tree


def name(obj: Any) -> str:
    """``metadata.name``."""
    return text(obj, "metadata", "name")


def namespace(obj: Any) -> str:
    """``metadata.namespace``; empty for an object of the whole cluster."""
    return text(obj, "metadata", "namespace")


def conditions(obj: Any) -> dict[str, Object]:
    """The conditions of an object by their type."""
    return {text(it, "type"): it for it in parts(obj, "status", "conditions")}


def holds(obj: Any, condition: str) -> bool:
    """Whether a condition, such as Ready, is True."""
    return text(conditions(obj).get(condition), "status") == "True"


def contains(whole: Any, wanted: Any) -> bool:
    """Whether a document says all that another says; what is empty there may be absent here, as servers drop it."""
    if isinstance(wanted, Mapping):
        held = part(whole)
        return all(contains(held.get(key), it) for key, it in wanted.items())
    if isinstance(wanted, list):
        held_items = whole if isinstance(whole, list) else []
        return len(held_items) == len(wanted) and all(map(contains, held_items, wanted))
    return whole == wanted or (wanted in (None, "") and whole in (None, ""))
