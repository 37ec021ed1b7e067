"""What does the cluster hold right now? A cache per kind, fed by a watch, with indexes by owner and namespace."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from skiff.api import Api, Object
from skiff.controllers.queue import Key
from skiff.errors import ApiError
from skiff.kinds import Kind
from skiff.log import Log
from skiff.objects import key_of, owners_of, version_of

#: Told (old, new) on every change; old is None for a new object, new is None for one that is gone.
Listener = Callable[[Object | None, Object | None], None]

_log = Log()


def _service_of(obj: Object) -> str:
    return str((obj["metadata"].get("labels") or {}).get("kubernetes.io/service-name") or "")


class Informer:
    """The objects of one kind. What it holds is shared: copy before changing."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.objects: dict[Key, Object] = {}
        self.synced = asyncio.Event()
        self._by_owner: dict[str, set[Key]] = {}
        self._by_namespace: dict[str, set[Key]] = {}
        self._by_service: dict[Key, set[Key]] = {}
        self._listeners: list[Listener] = []
        self._gone: deque[str] = deque(maxlen=2000)

    def listen(self, listener: Listener) -> None:
        """Tell the listener everything there is, then every change."""
        self._listeners.append(listener)
        for obj in list(self.objects.values()):
            listener(None, obj)

    def get(self, namespace: str, name: str) -> Object | None:
        return self.objects.get((namespace, name))

    def naming(self, uid: str) -> list[Object]:
        """What names this uid among its owners, wherever it is, in order of name."""
        return [self.objects[it] for it in sorted(self._by_owner.get(uid, ()))]

    def owned(self, owner: Object) -> list[Object]:
        """What it owns, in order of name. In other namespaces anybody may claim to be owned: that is none of its."""
        metadata = owner["metadata"]
        found, place = self._by_owner.get(metadata["uid"], ()), metadata.get("namespace", "")
        return [self.objects[it] for it in sorted(found) if place in ("", it[0])]

    def namespace(self, namespace: str) -> list[Object]:
        return [self.objects[it] for it in sorted(self._by_namespace.get(namespace, ()))]

    def of_service(self, namespace: str, service: str) -> list[Object]:
        """What a label says belongs to a Service: its slices."""
        return [self.objects[it] for it in sorted(self._by_service.get((namespace, service), ()))]

    def learn(self, obj: Object) -> None:
        """Note what a write of our own returned, so that the next look does not repeat it before the watch tells."""
        if obj["metadata"].get("uid") not in self._gone:
            self._put(obj)

    def learn_deleting(self, obj: Object) -> None:
        """Note that we asked for a deletion."""
        held = self.objects.get(key_of(obj))
        same = held is not None and held["metadata"].get("uid") == obj["metadata"].get("uid")
        if held is not None and same and not held["metadata"].get("deletionTimestamp"):
            mark = "1970-01-01T00:00:00Z"  # only its presence counts until the watch tells the real one
            self._put({**held, "metadata": {**held["metadata"], "deletionTimestamp": mark}})

    def _put(self, obj: Object) -> None:
        key = key_of(obj)
        old = self.objects.get(key)
        if old is obj or (old is not None and version_of(old) > version_of(obj)):
            return
        if old is not None:
            self._unindex(key, old)
        self.objects[key] = obj
        self._by_namespace.setdefault(key[0], set()).add(key)
        if service := _service_of(obj):
            self._by_service.setdefault((key[0], service), set()).add(key)
        for owner in owners_of(obj):
            self._by_owner.setdefault(owner.get("uid", ""), set()).add(key)
        self._tell(old, obj)

    def _remove(self, key: Key) -> None:
        old = self.objects.pop(key, None)
        if old is None:
            return
        self._unindex(key, old)
        self._gone.append(old["metadata"].get("uid", ""))
        self._tell(old, None)

    def _unindex(self, key: Key, obj: Object) -> None:
        words: list[tuple[dict[Any, set[Key]], Any]] = [
            (self._by_owner, it.get("uid", "")) for it in owners_of(obj)
        ]
        words += [(self._by_namespace, key[0]), (self._by_service, (key[0], _service_of(obj)))]
        for index, word in words:
            keys = index.get(word)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del index[word]

    def _tell(self, old: Object | None, new: Object | None) -> None:
        for listener in self._listeners:
            try:
                listener(old, new)
            except Exception:  # noqa: BLE001 - one listener must not stop the others
                _log.exception("a listener failed", kind=str(self.kind))

    async def run(self, api: Api) -> None:
        """Follow the kind for ever. A broken watch is begun anew, and what vanished meanwhile is removed."""
        delay = 0.1
        while True:
            try:
                await self._follow(api)
                delay = 0.1
            except ApiError as error:
                _log.info("watch ended", kind=str(self.kind), code=error.code, error=error.message)
            except Exception:  # noqa: BLE001 - begun anew below
                _log.exception("watch failed", kind=str(self.kind))
            await asyncio.sleep(delay * random.uniform(0.75, 1.25))
            delay = min(delay * 2, 10.0)

    async def _follow(self, api: Api) -> None:
        seen: set[Key] | None = set()
        watch = api.watch(self.kind)
        async with contextlib.AsyncExitStack() as closing:
            if isinstance(watch, AsyncGenerator):
                await closing.enter_async_context(aclosing(watch))
            async for event in watch:
                match event.type:
                    case "SYNCED":
                        for key in list(self.objects) if seen is not None else ():
                            if seen is not None and key not in seen:
                                self._remove(key)
                        seen = None
                        self.synced.set()
                    case "DELETED":
                        self._delete(event.object)
                    case "ADDED" | "MODIFIED":
                        self._put(event.object)
                        if seen is not None:
                            seen.add(key_of(event.object))
                    case _:
                        pass

    def _delete(self, obj: Object) -> None:
        held = self.objects.get(key_of(obj))
        # A namesake may have been created (and learned) before the watch told of the first one's end.
        if held is not None and held["metadata"].get("uid") == obj["metadata"].get("uid"):
            self._remove(key_of(obj))
        else:
            self._gone.append(obj["metadata"].get("uid", ""))


class Informers:
    """One cache per kind, begun when first asked for."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._informers: dict[tuple[str, str], Informer] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._arrivals: list[Callable[[Informer], None]] = []

    def __getitem__(self, kind: Kind) -> Informer:
        informer = self._informers.get(kind.storage)
        if informer is None:
            informer = self._informers[kind.storage] = Informer(kind)
            for arrival in self._arrivals:
                arrival(informer)
            if self._tasks is not None:
                self._tasks.create_task(informer.run(self._api))
        return informer

    def all(self) -> list[Informer]:
        return list(self._informers.values())

    def on_arrival(self, told: Callable[[Informer], None]) -> None:
        """Be told of every cache, now and later."""
        self._arrivals.append(told)
        for informer in self.all():
            told(informer)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        for informer in self.all():
            tasks.create_task(informer.run(self._api))

    async def wait(self, limit_s: float = 30.0) -> None:
        """Until every cache has heard what exists; one that cannot be filled is not waited for longer than the limit."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                for informer in self.all():
                    await informer.synced.wait()
