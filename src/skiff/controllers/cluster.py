"""What does a controller work with? The API, the caches, the settings, and a loop that survives failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from skiff.api import Api, Object
from skiff.controllers.informer import Informers
from skiff.controllers.queue import Key, WorkQueue
from skiff.errors import ApiError
from skiff.kinds import Kind
from skiff.log import Log
from skiff.objects import controller_of, key_of

_log = Log()


#: (a request as ``cryptography`` reads it, its usages, how long it lasts): the certificate as PEM.
Sign = Callable[[Any, Iterable[str], timedelta], bytes]


def _no_signer(*_: Any) -> bytes:
    raise ApiError(503, "ServiceUnavailable", "there is no CA here")


#: PodMetrics of what runs in a namespace.
Usage = Callable[[str], Awaitable[list[Object]]]


async def _no_usage(_: str) -> list[Object]:
    return []


class Settings(Protocol):
    """What the controllers must be told."""

    @property
    def node_name(self) -> str: ...
    @property
    def ca_pem(self) -> str: ...
    @property
    def bounded(self) -> bool: ...  # what pods ask for counts
    @property
    def lasting(self) -> tuple[tuple[Kind, Object], ...]: ...  # what comes back when it is deleted
    @property
    def volumes(self) -> str: ...  # the folder of what claims keep
    @property
    def sign(self) -> Sign: ...
    @property
    def usage(self) -> Usage: ...


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """The plain form of ``Settings``."""

    node_name: str
    ca_pem: str
    bounded: bool = False
    lasting: tuple[tuple[Kind, Object], ...] = ()
    volumes: str = ""
    sign: Sign = _no_signer
    usage: Usage = _no_usage


class Cluster:
    """Writes go through here so that the caches know of them at once."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self.api, self.settings = api, settings
        self.informers = Informers(api)

    async def create(self, kind: Kind, obj: Object) -> Object:
        made = await self.api.create(kind, obj)
        self.informers[kind].learn(made)
        return made

    async def patch(self, kind: Kind, obj: Object, patch: Object, *, subresource: str = "") -> Object:
        """Merge patch exactly this object: 409 when another one has its name by now."""
        namespace, name = key_of(obj)
        if uid := obj["metadata"].get("uid"):
            patch = {**patch, "metadata": {**(patch.get("metadata") or {}), "uid": uid}}
        changed = await self.api.patch(kind, namespace, name, patch, subresource=subresource)
        if not (changed["metadata"].get("deletionTimestamp") and not changed["metadata"].get("finalizers")):
            self.informers[kind].learn(changed)
        return changed

    async def status(self, kind: Kind, obj: Object, status: dict[str, Any]) -> None:
        """Set these fields of the status, unless they are so already."""
        held = obj.get("status") or {}
        if any(held.get(name) != value for name, value in status.items()):
            await self.patch(kind, obj, {"status": status}, subresource="status")

    async def delete(self, kind: Kind, obj: Object, *, propagation: str = "Background") -> None:
        """Ask for the end of exactly this object; one that is gone already is as good."""
        namespace, name = key_of(obj)
        try:
            await self.api.delete(
                kind, namespace, name, uid=obj["metadata"].get("uid", ""), propagation=propagation
            )
        except ApiError as error:
            if error.code not in {404, 409}:
                raise
        self.informers[kind].learn_deleting(obj)

    async def event(self, about: Object, kind: str, reason: str, message: str, source: str) -> None:
        try:
            await self.api.event(about, kind, reason, message, source=source)
        except Exception:  # noqa: BLE001 - an event is only told, it must not stop the work
            _log.exception("an event was lost", reason=reason)


#: Brings one object towards what is wanted; answers after how many seconds to look again, None for no wish.
Reconcile = Callable[[Key], Awaitable[float | None]]


class Controller:
    """A queue and its workers."""

    def __init__(self, name: str, reconcile: Reconcile, *, workers: int = 2) -> None:
        self.name, self._reconcile, self._workers = name, reconcile, workers
        self.queue = WorkQueue()

    def follow(self, cluster: Cluster, kind: Kind) -> None:
        """Look at objects of this kind whenever they change."""

        def changed(old: Object | None, new: Object | None) -> None:
            obj = new or old
            if obj is not None:
                self.queue.add(key_of(obj))

        cluster.informers[kind].listen(changed)

    def follow_owned(self, cluster: Cluster, kind: Kind, owner_kind: Kind) -> None:
        """Look at the controller-owner whenever something it owns changes."""

        def changed(old: Object | None, new: Object | None) -> None:
            for obj in (old, new):
                owner = controller_of(obj) if obj is not None else None
                if obj is not None and owner is not None and owner.get("kind") == owner_kind.kind:
                    self.queue.add((obj["metadata"].get("namespace", ""), owner["name"]))

        cluster.informers[kind].listen(changed)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._workers):
                    tasks.create_task(self._work())
        finally:
            self.queue.close()

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                async with asyncio.timeout(60):
                    again = await self._reconcile(key)
                self.queue.succeeded(key)
                if again is not None:
                    self.queue.add_after(key, again)
            except ApiError as error:
                delay = self.queue.failed(key)
                # A conflict is how optimistic locking works, not news.
                if error.code not in {404, 409}:
                    about = {"controller": self.name, "key": "/".join(key), "delay_s": delay}
                    _log.warning("will try again", error=error.message, **about)
            except Exception:  # noqa: BLE001 - the one boundary: logged, tried again, stops no other
                delay = self.queue.failed(key)
                _log.exception("reconcile failed", controller=self.name, key="/".join(key), delay_s=delay)
            finally:
                self.queue.done(key)
