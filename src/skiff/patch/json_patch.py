"""JSON patch (RFC 6902): a list of operations on paths (RFC 6901)."""

from __future__ import annotations

from typing import Any

import msgspec

from skiff.errors import ApiError

MAX_OPERATIONS = 10_000  # as the API server limits them
#: What all copies of a patch may add, as JSON: as much as a body, as in the API server.
MAX_COPIED = 3 * 1024 * 1024
#: Places by which the items of lists may move in all: what is put before many pushes them all.
MAX_MOVED = 100_000_000


def json_patch(document: Any, operations: Any) -> Any:
    """The document after all operations, or ApiError 422 with the operation that cannot be done."""
    if not isinstance(operations, list) or not all(isinstance(it, dict) for it in operations):
        raise ApiError(400, "BadRequest", "a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise ApiError(413, "RequestEntityTooLarge", f"a JSON patch has at most {MAX_OPERATIONS} operations")
    work = _Work(_copied(document))
    for number, operation in enumerate(operations):
        try:
            work.perform(operation)
        except (KeyError, IndexError, ValueError, TypeError) as wrong:
            shown = f"operation {number} ({str(operation.get('op'))[:20]} {str(operation.get('path'))[:200]}): {str(wrong)[:200]}"
            said = f"the server rejected our request due to an error in our request: {shown}"
            raise ApiError(422, "Invalid", said) from wrong
    return work.holder.get("")  # the whole document may have been removed


class _Work:
    """A document that changes, and what that has cost."""

    def __init__(self, document: Any) -> None:
        self.holder = {"": document}
        self._copied = self._moved = 0

    def perform(self, operation: dict[str, Any]) -> None:
        """One operation."""
        path = _tokens(operation["path"])
        match operation.get("op"):
            case "add":
                self._add(path, _copied(operation["value"]))
            case "remove":
                self._remove(path)
            case "replace":
                self._remove(path)
                self._add(path, _copied(operation["value"]))
            case "move":
                self._add(path, self._remove(_tokens(operation["from"])))
            case "copy":
                self._add(path, self._copy(_get(self.holder, _tokens(operation["from"]))))
            case "test":
                if _get(self.holder, path) != operation["value"]:
                    raise ValueError("the value is another")
            case other:
                raise ValueError(f"there is no operation {str(other)[:20]!r}")

    def _copy(self, value: Any) -> Any:
        self._copied += len(msgspec.json.encode(value))
        if self._copied > MAX_COPIED:
            said = f"unable to copy, the accumulated size increase of copy is {self._copied}, exceeding the limit {MAX_COPIED}"
            raise ApiError(413, "RequestEntityTooLarge", said)
        return _copied(value)

    def _add(self, tokens: list[str], value: Any) -> None:
        parent, last = _get(self.holder, tokens[:-1]), tokens[-1]
        if isinstance(parent, list):
            position = len(parent) if last == "-" else _position(last)
            if position > len(parent):
                raise IndexError(f"the list has {len(parent)} items")
            self._move(len(parent) - position)
            parent.insert(position, value)
        elif isinstance(parent, dict):
            parent[last] = value
        else:
            raise TypeError(f"{type(parent).__name__} has no fields")

    def _remove(self, tokens: list[str]) -> Any:
        parent, last = _get(self.holder, tokens[:-1]), tokens[-1]
        if isinstance(parent, list):
            position = _position(last)
            self._move(max(0, len(parent) - position))
            return parent.pop(position)
        if isinstance(parent, dict):
            return parent.pop(last)
        raise TypeError(f"{type(parent).__name__} has no fields")

    def _move(self, places: int) -> None:
        self._moved += places
        if self._moved > MAX_MOVED:
            raise ApiError(
                413, "RequestEntityTooLarge", "the patch moves too many items of lists: replace the lists"
            )


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(it) for key, it in value.items()}
    if isinstance(value, list):
        return [_copied(it) for it in value]
    return value


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
    if not (token.isascii() and token.isdigit() and len(token) < 10) or (len(token) > 1 and token[0] == "0"):
        raise ValueError(f"{token!r} is no position in a list")
    return int(token)
