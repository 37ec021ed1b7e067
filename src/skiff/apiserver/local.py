"""The API from inside the daemon: ``skiff.api.Api`` on the same registry that HTTP uses."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from skiff.api import Event, Object
from skiff.apiserver import selectors
from skiff.apiserver.lasting import lasting
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError
from skiff.kinds import EVENTS, Kind
from skiff.patch import merge_patch

#: Of a patch, as the real server has it.
_TRIES = 5


class LocalApi:
    """See ``skiff.api.Api``, whose sentences hold here."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object."""
        return self.registry.read(kind, namespace, name)

    async def list(
        self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """Objects by selectors."""
        by_labels, by_fields = selectors.by_labels(labels), selectors.by_fields(fields, kind)
        return [
            it for it in self.registry.store.read_all(kind.storage, namespace)
            if by_labels(it) and by_fields(it)
        ]  # fmt: skip

    async def create(self, kind: Kind, obj: Object) -> Object:
        """A new object."""
        async with lasting(self.registry.store):
            return await self.registry.create(kind, (obj.get("metadata") or {}).get("namespace", ""), obj)

    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        """Replace, or replace the status."""
        metadata = obj["metadata"]
        async with lasting(self.registry.store):
            return await self.registry.update(
                kind, metadata.get("namespace", ""), metadata["name"], obj, subresource=subresource
            )

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object:
        """Merge patch; made anew when somebody else wrote meanwhile, unless it names a version."""
        for left in reversed(range(_TRIES)):
            try:
                async with lasting(self.registry.store):
                    patched = merge_patch(self.registry.get(kind, namespace, name), patch)
                    return await self.registry.update(kind, namespace, name, patched, subresource=subresource)
            except ApiError as error:
                named = (patch.get("metadata") or {}).keys() & {"resourceVersion", "uid"}
                if error.reason != "Conflict" or named or not left:
                    raise
        raise AssertionError("the last try returns or raises")

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str = "", propagation: str = "Background",
        grace_seconds: int | None = None,
    ) -> None:  # fmt: skip
        """Remove or mark."""
        async with lasting(self.registry.store):
            await self.registry.delete(
                kind, namespace, name, uid=uid, propagation=propagation, grace_seconds=grace_seconds
            )

    async def watch(self, kind: Kind) -> AsyncIterator[Event]:
        """Existing objects, SYNCED, then changes. It ends for a reader that falls behind."""
        store = self.registry.store
        follower = store.follow(kind.storage, store.committed)
        present = store.read_all(kind.storage)  # of exactly that revision
        try:
            for it in present:
                yield Event("ADDED", it)
            yield Event("SYNCED", {})
            while (change := await follower.next()) is not None:
                yield Event(change.type, change.object)
        finally:
            follower.close()

    async def event(self, about: Object, kind: str, reason: str, message: str, *, source: str) -> None:
        """Record or count an Event. Nobody waits for its commit: no answer depends on it."""
        metadata = about["metadata"]
        namespace = metadata.get("namespace") or "default"
        digest = hashlib.sha256(f"{metadata.get('uid')}{kind}{reason}{message}".encode()).hexdigest()[:16]
        name, now = f"{metadata['name']}.{digest}", self.registry.now()
        try:
            old = self.registry.store.get(EVENTS.storage, namespace, name)
            if old:
                again = {**old, "count": old.get("count", 1) + 1, "lastTimestamp": now}
                await self.registry.update(EVENTS, namespace, name, again)
                return
            reference = {
                "kind": about["kind"], "apiVersion": about["apiVersion"], "name": metadata["name"],
                "uid": metadata.get("uid", ""), "resourceVersion": metadata.get("resourceVersion", ""),
                **({"namespace": metadata["namespace"]} if metadata.get("namespace") else {}),
            }  # fmt: skip
            made = {
                "metadata": {"name": name, "namespace": namespace}, "involvedObject": reference, "type": kind, "reason": reason,
                "message": message, "count": 1, "firstTimestamp": now, "lastTimestamp": now, "source": {"component": source},
                "reportingComponent": source,
            }  # fmt: skip
            await self.registry.create(EVENTS, namespace, made)
        except ApiError:
            return  # an event is a courtesy: its namespace may be ending
