"""How does the API say no? One exception, which becomes a Kubernetes ``Status``."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A refusal with an HTTP code and a reason, as Kubernetes words it (``metav1.Status``)."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def status(self) -> dict[str, Any]:
        """The ``Status`` object of this refusal."""
        body: dict[str, Any] = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        }  # fmt: skip
        return body if self.details is None else {**body, "details": self.details}


def unknown_path() -> ApiError:
    """404 where nothing is served. The empty details tell clients that no object is meant: kubectl reads them."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def not_found(plural: str, group: str, name: str) -> ApiError:
    """404 in the words of the real API server, which kubectl prints as they are."""
    resource = f"{plural}.{group}" if group else plural
    return ApiError(
        404, "NotFound", f'{resource} "{name}" not found', {"name": name, "group": group, "kind": plural}
    )


def already_exists(plural: str, group: str, name: str) -> ApiError:
    """409 on create."""
    resource = f"{plural}.{group}" if group else plural
    return ApiError(
        409,
        "AlreadyExists",
        f'{resource} "{name}" already exists',
        {"name": name, "group": group, "kind": plural},
    )


def conflict(plural: str, group: str, name: str, why: str = "") -> ApiError:
    """409 on update with a stale resourceVersion or uid."""
    resource = f"{plural}.{group}" if group else plural
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    return ApiError(
        409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": {why}',
        {"name": name, "group": group, "kind": plural},
    )  # fmt: skip


#: Causes of one refusal, and letters of each: more is not read, and must not be made of a large body.
_MOST_CAUSES, _MOST_LETTERS = 100, 2_000
_AT_THE_END = 500


def _short(text: str) -> str:
    """Without its middle: a message begins with a value, which may be long, and ends with what is wrong with it."""
    if len(text) <= _MOST_LETTERS:
        return text
    return f"{text[: _MOST_LETTERS - _AT_THE_END]}...{text[-_AT_THE_END:]}"


def invalid(kind: str, group: str, name: str, causes: list[tuple[str, str, str]]) -> ApiError:
    """422 with one cause per bad field: (reason such as FieldValueInvalid, message, field path)."""
    told = [(reason, _short(message), _short(field)) for reason, message, field in causes[:_MOST_CAUSES]]
    listed = [{"reason": reason, "message": message, "field": field} for reason, message, field in told]
    said = ", ".join(f"{field}: {message}" for _, message, field in told)
    full = f"{kind}.{group}" if group else kind
    return ApiError(
        422, "Invalid", f'{full} "{name}" is invalid: {said}' if len(causes) == 1 else f'{full} "{name}" is invalid: [{said}]',
        {"name": name, "group": group, "kind": kind, "causes": listed},
    )  # fmt: skip
