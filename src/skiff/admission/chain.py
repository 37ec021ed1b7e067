"""In which order is a write changed and judged? Plug-ins by kind, then webhooks, then what else may refuse; quota is last.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/ . What no plug-in is about costs one look-up.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Protocol

from skiff.admission.request import Mutator, Request, Validator
from skiff.api import Object
from skiff.kinds import Kind

Storage = tuple[str, str]


class Hooks(Protocol):
    """Webhooks: ``skiff.admission.webhooks``."""

    async def mutate(
        self, kind: Kind, operation: str, subresource: str, obj: Object, old: Object | None
    ) -> Object: ...
    async def validate(
        self, kind: Kind, operation: str, subresource: str, obj: Object | None, old: Object | None
    ) -> None: ...


class Chain:
    """``skiff.apiserver.registry.Admission`` of everything that has a say."""

    def __init__(
        self, hooks: Hooks | None = None, *, mutators: Iterable[tuple[Iterable[Kind], Mutator]] = (),
        validators: Iterable[tuple[Iterable[Kind], Validator]] = (), everywhere: Iterable[Validator] = (),
        last: Validator | None = None,
    ) -> None:  # fmt: skip
        self._hooks, self._everywhere, self._last = hooks, tuple(everywhere), last
        self._mutators: dict[Storage, list[Mutator]] = {}
        self._validators: dict[Storage, list[Validator]] = {}
        for kinds, mutator in mutators:
            for kind in kinds:
                self._mutators.setdefault(kind.storage, []).append(mutator)
        for kinds, validator in validators:
            for kind in kinds:
                self._validators.setdefault(kind.storage, []).append(validator)

    async def mutate(
        self, kind: Kind, operation: str, subresource: str, obj: Object, old: Object | None
    ) -> Object:
        """The object as it shall be stored; ApiError when it cannot be completed."""
        for it in self._mutators.get(kind.storage, ()):
            made = it.mutate(Request(kind, operation, subresource, obj, old), obj)
            obj = await made if inspect.isawaitable(made) else made
        return await self._hooks.mutate(kind, operation, subresource, obj, old) if self._hooks else obj

    async def validate(
        self, kind: Kind, operation: str, subresource: str, obj: Object | None, old: Object | None
    ) -> None:
        """ApiError when somebody refuses. Nothing waits behind the last one: what it counted is stored at once."""
        request = Request(kind, operation, subresource, obj, old)
        for it in (*self._validators.get(kind.storage, ()), *self._everywhere):
            said = it.validate(request)
            if inspect.isawaitable(said):
                await said
        if self._hooks:
            await self._hooks.validate(kind, operation, subresource, obj, old)
        if self._last:
            self._last.validate(request)
