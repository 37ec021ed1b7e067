"""What does a plug-in of admission hear, and what may it say?"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol

from skiff.api import Object
from skiff.errors import ApiError
from skiff.kinds import Kind
from skiff.store.store import Store


@dataclass(frozen=True, slots=True)
class Request:
    """A write that is about to happen. ``obj`` is None when something is deleted, ``old`` when it is new."""

    kind: Kind
    operation: str  # CREATE, UPDATE, DELETE
    subresource: str
    obj: Object | None
    old: Object | None

    @property
    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = (self.obj or self.old or {}).get("metadata") or {}
        return found

    @property
    def namespace(self) -> str:
        return str(self.metadata.get("namespace", ""))

    @property
    def name(self) -> str:
        return str(self.metadata.get("name", ""))

    @property
    def created(self) -> Object | None:
        """The object of a plain create; None for everything else."""
        return self.obj if self.operation == "CREATE" and not self.subresource else None


class Mutator(Protocol):
    """May change what is stored, before webhooks do."""

    def mutate(self, request: Request, obj: Object) -> Object | Awaitable[Object]: ...


class Validator(Protocol):
    """May refuse, by raising ``ApiError``, when the object is as it will be stored."""

    def validate(self, request: Request) -> Awaitable[None] | None: ...


class Stored:
    """What plug-ins read: the newest state, shared and not to be changed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return self._store.get(kind.storage, namespace, name)

    def all(self, kind: Kind, namespace: str = "") -> list[Object]:
        return self._store.all(kind.storage, namespace)


def forbidden(request: Request, why: str) -> ApiError:
    """403 as the real API server words the refusal of a plug-in."""
    kind, name = request.kind, request.name
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    return ApiError(403, "Forbidden", f'{kind.resource} "{name}" is forbidden: {why}', details)
