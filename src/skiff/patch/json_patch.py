"""JSON patch (RFC 6902): a list of operations on paths (RFC 6901)."""

from __future__ import annotations

import copy
from typing import Any

from skiff.errors import ApiError

MAX_OPERATIONS = 10_000  # as the API server limits them


def json_patch(document: Any, operations: Any) -> Any:
    """The document after all operations, or ApiError 422 with the operation that cannot be done."""
    if not isinstance(operations, list) or not all(isinstance(it, dict) for it in operations):
        raise ApiError(400, "BadRequest", "a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise ApiError(413, "RequestEntityTooLarge", f"a JSON patch has at most {MAX_OPERATIONS} operations")
    holder = {"": copy.deepcopy(document)}
    for number, operation in enumerate(operations):
        try:
            _perform(holder, operation)
        except (KeyError, IndexError, ValueError, TypeError) as wrong:
            shown = f"operation {number} ({operation.get('op')} {operation.get('path')}): {wrong}"
            said = f"the server rejected our request due to an error in our request: {shown}"
            raise ApiError(422, "Invalid", said) from wrong
    return holder[""]


def _perform(holder: dict[str, Any], operation: dict[str, Any]) -> None:
    path = _tokens(operation["path"])
    match operation.get("op"):
        case "add":
            _add(holder, path, copy.deepcopy(operation["value"]))
        case "remove":
            _remove(holder, path)
        case "replace":
            _remove(holder, path)
            _add(holder, path, copy.deepcopy(operation["value"]))
        case "move":
            _add(holder, path, _remove(holder, _tokens(operation["from"])))
        case "copy":
            _add(holder, path, copy.deepcopy(_get(holder, _tokens(operation["from"]))))
        case "test":
            if _get(holder, path) != operation["value"]:
                raise ValueError("the value is another")
        case other:
            raise ValueError(f"there is no operation {other!r}")


def _tokens(path: str) -> list[str]:
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise ValueError(f"{path!r} is no JSON pointer")
    # The document itself lies under "" of its holder, so that it can be replaced as a whole.
    return [it.replace("~1", "/").replace("~0", "~") for it in path.split("/")]


def _get(holder: Any, tokens: list[str]) -> Any:
    for token in tokens:
        holder = holder[_position(token)] if isinstance(holder, list) else holder[token]
    return holder


def _position(token: str) -> int:
    if not token.isdigit() or (len(token) > 1 and token[0] == "0"):
        raise ValueError(f"{token!r} is no position in a list")
    return int(token)


def _add(holder: Any, tokens: list[str], value: Any) -> None:
    parent, last = _get(holder, tokens[:-1]), tokens[-1]
    if isinstance(parent, list):
        position = len(parent) if last == "-" else _position(last)
        if position > len(parent):
            raise IndexError(f"the list has {len(parent)} items")
        parent.insert(position, value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise TypeError(f"{type(parent).__name__} has no fields")


def _remove(holder: Any, tokens: list[str]) -> Any:
    parent, last = _get(holder, tokens[:-1]), tokens[-1]
    return parent.pop(_position(last)) if isinstance(parent, list) else parent.pop(last)
