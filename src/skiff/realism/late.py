"""When do controllers tell what they have done? Later than a client on the same machine would like.

A definition is stored before anybody serves its kind; status, endpoints and accounts follow what they are about.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from skiff.api import Api, Event, Object
from skiff.apiserver.custom import check
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError
from skiff.kinds import CUSTOM_RESOURCE_DEFINITIONS, ENDPOINT_SLICES, SERVICE_ACCOUNTS, Kind
from skiff.realism.chance import Chance

_FOLLOWS = (ENDPOINT_SLICES, SERVICE_ACCOUNTS)


class LateApi:
    """``skiff.api.Api``, slow to tell status and what follows other objects."""

    def __init__(self, api: Api, chance: Chance) -> None:
        self._api, self._chance = api, chance

    async def _late(self) -> None:
        self._chance.happened["late"] += 1
        await asyncio.sleep(self._chance.moment(self._chance.rates.late_s))

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object."""
        return await self._api.get(kind, namespace, name)

    async def list(
        self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """Objects by selectors."""
        return await self._api.list(kind, namespace, labels=labels, fields=fields)

    async def create(self, kind: Kind, obj: Object) -> Object:
        """A new object."""
        if kind in _FOLLOWS:
            await self._late()
        return await self._api.create(kind, obj)

    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        """Replace, or replace the status."""
        if subresource == "status" or kind in _FOLLOWS:
            await self._late()
        return await self._api.update(kind, obj, subresource=subresource)

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object:
        """Merge patch."""
        if subresource == "status" or kind in _FOLLOWS:
            await self._late()
        return await self._api.patch(kind, namespace, name, patch, subresource=subresource)

    async def delete(self, kind: Kind, namespace: str, name: str, **how: Any) -> None:
        """Remove or mark."""
        await self._api.delete(kind, namespace, name, **how)

    def watch(self, kind: Kind) -> AsyncIterator[Event]:
        """Existing objects, SYNCED, then changes."""
        return self._api.watch(kind)

    async def event(self, about: Object, kind: str, reason: str, message: str, *, source: str) -> None:
        """Record or count an Event."""
        await self._api.event(about, kind, reason, message, source=source)


class LateKinds:
    """Definitions are stored with a status that says nothing, and served a moment later."""

    def __init__(self, registry: Registry, chance: Chance) -> None:
        self._registry, self._chance = registry, chance
        self._serve = registry.stored[CUSTOM_RESOURCE_DEFINITIONS]
        self._waiting: dict[str, asyncio.Task[None]] = {}
        registry.stored[CUSTOM_RESOURCE_DEFINITIONS] = self._changed

    def _changed(self, new: Object | None, old: Object | None) -> Object | None:
        uid = (new or old or {}).get("metadata", {}).get("uid", "")
        if new is None:
            if (waiting := self._waiting.pop(uid, None)) is not None:
                waiting.cancel()
            return self._serve(new, old)
        if uid in self._waiting:
            check(new)  # somebody changes it before it is served
            return new
        if old is not None:
            return self._serve(new, old)
        check(new)
        name = new["metadata"]["name"]
        self._waiting[uid] = asyncio.get_running_loop().create_task(self._establish(uid, name))
        nothing = {"acceptedNames": {"kind": "", "plural": ""}, "conditions": None, "storedVersions": None}
        return {**new, "status": nothing}

    async def _establish(self, uid: str, name: str) -> None:
        await asyncio.sleep(self._chance.moment(self._chance.rates.late_s))
        self._waiting.pop(uid, None)
        for _ in range(5):
            try:
                found = self._registry.get(CUSTOM_RESOURCE_DEFINITIONS, "", name)
                if found["metadata"]["uid"] == uid:
                    touched = {**found, "status": {}}
                    await self._registry.update(
                        CUSTOM_RESOURCE_DEFINITIONS, "", name, touched, subresource="status"
                    )
                return
            except ApiError as refused:
                if refused.code != 409:
                    return
