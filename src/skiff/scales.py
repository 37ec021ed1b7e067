"""How many replicas does an object want, and whose are they? What its ``scale`` says, of built-in and custom kinds.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#scale-subresource
"""

from __future__ import annotations

from typing import Any, NamedTuple

from skiff.api import Object
from skiff.errors import ApiError
from skiff.kinds import Kind


class Scale(NamedTuple):
    """``selector`` is a label selector as it stands in a query string; "" when nobody says one."""

    wanted: int
    there: int
    selector: str


def read(kind: Kind, obj: Object) -> Scale:
    """The scale of an object. ApiError when a custom one does not have the number of its replicas."""
    if not kind.custom:
        status, spec = obj.get("status") or {}, obj["spec"]
        return Scale(spec.get("replicas", 0), status.get("replicas", 0), _selector(obj))
    wanted, there, selector = kind.scale
    replicas = _at(obj, wanted)
    if not isinstance(replicas, int):
        said = f'Internal error occurred: the spec replicas field "{wanted}" does not exist'
        raise ApiError(500, "InternalError", said)
    present, chosen = _at(obj, there), _at(obj, selector)
    return Scale(
        replicas, present if isinstance(present, int) else 0, chosen if isinstance(chosen, str) else ""
    )


def scaled(kind: Kind, obj: Object, replicas: int) -> Object:
    """The object with another number of replicas. The input is not changed."""
    made: Object = _with(obj, _steps(kind.scale[0] if kind.custom else ".spec.replicas"), replicas)
    return made


def as_text(selector: Object) -> str:
    """A metav1.LabelSelector as it stands in a query string."""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for it in selector.get("matchExpressions") or ():
        key, values = it.get("key", ""), ",".join(sorted(map(str, it.get("values") or ())))
        match it.get("operator"):
            case "In" | "NotIn" as word:
                parts.append(f"{key} {word.lower()} ({values})")
            case "Exists":
                parts.append(key)
            case _:
                parts.append(f"!{key}")
    return ",".join(parts)


def _selector(obj: Object) -> str:
    selector = obj["spec"].get("selector") or {}
    # That of a ReplicationController is plain labels.
    return as_text({"matchLabels": selector} if obj.get("kind") == "ReplicationController" else selector)


def _steps(path: str) -> list[str]:
    return path.removeprefix(".").split(".")


def _at(obj: Any, path: str) -> Any:
    for step in _steps(path) if path else ():
        obj = obj.get(step) if isinstance(obj, dict) else None
    return obj if path else None


def _with(obj: Any, steps: list[str], value: int) -> Any:
    if not steps:
        return value
    held = obj if isinstance(obj, dict) else {}
    return {**held, steps[0]: _with(held.get(steps[0]), steps[1:], value)}
