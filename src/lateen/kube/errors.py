"""An API server's refusals, and its answers as objects."""

from __future__ import annotations

from typing import Any

import msgspec

from lateen.api import reading

_SHOWN = 300


class KubeError(Exception):
    """The API server refused, or answered with something that is no object; the message is its own.

    ``retry_after_s`` is how long it asked to be left alone, if it did.
    """

    def __init__(self, code: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.retry_after_s = code, reason, retry_after_s


def decoded(raw: bytes, where: str = "the API server") -> dict[str, Any]:
    """The object in an answer. KubeError 502 when there is none: something between us and the server has answered."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    said = raw[:_SHOWN].decode(errors="replace").strip()
    raise KubeError(
        502,
        "NotAnObject",
        f"{where} answered with something that is no object of Kubernetes: {said!r}; "
        "is it an API server, or does a proxy before it answer?",
    )


def refusal(status: int, raw: bytes, retry_after: str = "") -> KubeError:
    """The API server's words in a Status, or what else it said."""
    wait_s = _seconds(retry_after)
    try:
        said = msgspec.json.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        said = None
    if isinstance(said, dict):
        if wait_s is None:
            wait_s = _seconds(str(reading.number(said, "details", "retryAfterSeconds") or ""))
        message = reading.text(said, "message") or f"HTTP {status}: {str(said)[:_SHOWN]}"
        return KubeError(status, reading.text(said, "reason"), message, wait_s)
    words = raw[:_SHOWN].decode(errors="replace").strip()
    return KubeError(status, "", f"HTTP {status}: {words}" if words else f"HTTP {status}", wait_s)


def _seconds(text: str) -> float | None:
    """``Retry-After`` in seconds; Kubernetes sends no dates."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else None
