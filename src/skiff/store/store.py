"""What is stored? Every object in memory and in one SQLite file, every change in order.

There are two states of an object. Writers build on the newest one. Everybody else sees what is committed, which is in the file
and survives a kill and a power cut: reads show it, followers hear of it, and who wrote waits for it (``settled``).
Commits end in a thread, one at a time; what is written meanwhile goes together into the next one.
When the file cannot be written, what it lacks is undone: who wrote it is told so (503) and nobody else has seen it.
See ``docs/decisions/0009-nothing-is-said-before-it-is-kept.md``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from skiff.api import Object
from skiff.errors import ApiError
from skiff.log import Log
from skiff.store.file import File, Key, Written
from skiff.store.history import Change, Follower, History, Storage
from skiff.store.writer import Commit, Writer

_log = Log()

#: While the file cannot be written it is tried again so often, also when nobody writes.
_AGAIN_S = 1.0
#: As long as a request waits for its commit; afterwards nobody knows what becomes of it.
COMMIT_S = 30.0
#: Bytes that may wait for their commit. Who writes more has to wait.
PENDING_BYTES = 64 * 1024 * 1024
#: Of one object as JSON. etcd takes 1.5 MiB, of protobuf which is shorter; refused in its words.
MOST_BYTES = 2 * 1024 * 1024
LARGE = 64 * 1024

_Place = tuple[str, str]  # (namespace, name)


class Store:
    """All objects, and the recent history."""

    def __init__(self, path: Path | None = None) -> None:
        """Without a path nothing lasts, and every write is committed at once."""
        self._file, self._lasts = File(path), path is not None
        self._objects: dict[Storage, dict[_Place, Object]] = {}
        #: Of the newest write.
        self.revision, found = self._file.read()
        self._large: set[Key] = set()
        for key, obj, size in found:
            group, plural, namespace, name = key
            self._objects.setdefault((group, plural), {})[namespace, name] = obj
            if size > LARGE:
                self._large.add(key)
        #: Of the newest write that is committed.
        self.committed = self.revision
        self._history = History(self.revision)
        self._writer = Writer()
        self._queue: list[Change] = []  # for the next commit
        self._queued_bytes = 0
        self._writing: tuple[list[Change], Commit] | None = None  # the commit that is being made
        self._due = self._closed = False
        #: What the objects that the file lacks were before: how they are in the file. None: not there.
        self._before: dict[Storage, dict[_Place, Object | None]] = {}
        #: (the revision that is waited for, until when, by whom), in this order.
        self._waiters: deque[tuple[int, float, asyncio.Future[None]]] = deque()
        self._late: asyncio.TimerHandle | None = None  # one for all who wait: hardly any is ever needed
        self._failures, self._why = 0, ""
        self._again: asyncio.TimerHandle | None = None
        self._newest: dict[Storage, int] = {}  # revisions of the newest committed changes since we began
        self._listeners: dict[Storage, list[Callable[[Change], None]]] = {}
        #: Told of each change that is undone, the newest first.
        self.undone: list[Callable[[Change], None]] = []
        #: Why the file cannot be written, while it cannot.
        self.trouble = ""

    # --- what is committed -----------------------------------------------------------------

    def read(self, storage: Storage, namespace: str, name: str) -> Object | None:
        """One object, shared: do not change it."""
        place = (namespace, name)
        before = self._before.get(storage)
        if before and place in before:
            return before[place]
        return self._objects.get(storage, {}).get(place)

    def read_all(self, storage: Storage, namespace: str = "") -> list[Object]:
        """All of a namespace ("" is all), by namespace and name."""
        before = self._before.get(storage)
        if not before:
            return self.all(storage, namespace)
        found = {**self._objects.get(storage, {}), **before}
        return [it for place in _of(found, namespace) if (it := found[place]) is not None]

    def version(self, storage: Storage) -> int:
        """Another number as soon as ``read_all`` of a storage may show something else."""
        return self._newest.get(storage, 0)

    def follow(self, storage: Storage, since: int) -> Follower:
        """Hear every change after a revision. Raises GoneError when the history does not reach back to it."""
        return self._history.follow(storage, since)

    def listen(self, storage: Storage, told: Callable[[Change], None]) -> None:
        """Call this with every change from now on, before whoever made it goes on: for sums that must be exact.

        A change that is undone is told again, the other way round.
        """
        self._listeners.setdefault(storage, []).append(told)

    # --- for writers: what they build on ---------------------------------------------------

    def get(self, storage: Storage, namespace: str, name: str) -> Object | None:
        """One object, perhaps not committed yet, shared: do not change it."""
        return self._objects.get(storage, {}).get((namespace, name))

    def all(self, storage: Storage, namespace: str = "") -> list[Object]:
        """All of a namespace ("" is all), by namespace and name; perhaps not committed yet."""
        found = self._objects.get(storage, {})
        return [found[place] for place in _of(found, namespace)]

    def is_large(self, storage: Storage, namespace: str, name: str) -> bool:
        """Whether work on an object takes so long that others should have their turn meanwhile."""
        return (*storage, namespace, name) in self._large

    def put(self, storage: Storage, obj: Object) -> Object:
        """Store a new state at the next revision, which becomes its resourceVersion; returns what is stored."""
        self._require_room()
        metadata = obj["metadata"]
        place = (metadata.get("namespace", ""), metadata["name"])
        stored = {**obj, "metadata": {**metadata, "resourceVersion": str(self.revision + 1)}}
        body = msgspec.json.encode(stored)
        if len(body) > MOST_BYTES:
            raise ApiError(413, "RequestEntityTooLarge", "etcdserver: request is too large")
        (self._large.add if len(body) > LARGE else self._large.discard)((*storage, *place))
        self.revision += 1
        objects = self._objects.setdefault(storage, {})
        previous = objects.get(place)
        objects[place] = stored
        kind = "MODIFIED" if previous else "ADDED"
        self._changed(place, Change(self.revision, kind, storage, stored, previous, body))
        return stored

    def remove(self, storage: Storage, namespace: str, name: str) -> Object | None:
        """Forget an object; returns its last state with the revision of its end."""
        self._require_room()
        place = (namespace, name)
        previous = self._objects.get(storage, {}).pop(place, None)
        if previous is None:
            return None
        self._large.discard((*storage, namespace, name))
        self.revision += 1
        last = {**previous, "metadata": {**previous["metadata"], "resourceVersion": str(self.revision)}}
        self._changed(
            place, Change(self.revision, "DELETED", storage, last, previous, msgspec.json.encode(last))
        )
        return last

    def mark(self) -> int:
        """Remember this moment, before one reads what to build on; ``settled`` asks for it."""
        return self._failures

    async def settled(self, mark: int) -> None:
        """Wait until all that was written is committed. ApiError when something was undone since the mark, or nobody knows."""
        if self._before and self._failures == mark:
            loop = asyncio.get_running_loop()
            waiter = loop.create_future()
            self._waiters.append((self.revision, loop.time() + COMMIT_S, waiter))
            if self._late is None:
                self._late = loop.call_later(COMMIT_S, self._too_late)
            await waiter
        if self._failures != mark:
            raise _refused(f"the database could not be written ({self._why}), and the change was not kept")

    # --- committing ------------------------------------------------------------------------

    def _require_room(self) -> None:
        if self._closed:
            raise _refused("the cluster is stopping")
        if self._queued_bytes > PENDING_BYTES:
            raise _refused("too much waits to be written to the database")

    def _changed(self, place: _Place, change: Change) -> None:
        self._before.setdefault(change.storage, {}).setdefault(place, change.previous)
        self._queue.append(change)
        self._queued_bytes += len(change.body)
        self._hear(change)
        if not self._lasts:
            self.commit()
        elif not self._due and not self._writing:
            try:
                asyncio.get_running_loop().call_soon(self._begin)  # with what else is written in this turn
                self._due = True
            except RuntimeError:  # no loop: a command reads or writes the file by itself
                self.commit()

    def _hear(self, change: Change) -> None:
        for told in tuple(self._listeners.get(change.storage, ())):
            told(change)

    def _begin(self) -> None:
        self._due = False
        if self._writing or self._closed or not (self._queue or self.trouble):
            return
        batch = self._taken()
        end = self._file.prepare(_last_words(batch), self.revision)
        self._writing = (batch, self._writer.submit(end, self._ended))

    def _taken(self) -> list[Change]:
        batch, self._queue, self._queued_bytes = self._queue, [], 0
        return batch

    def _ended(self, made: Commit) -> None:
        if self._writing is None or self._writing[1] is not made:
            return  # commit() was quicker
        (batch, _), self._writing = self._writing, None
        if made.wrong is None:
            self._done(batch)
        else:
            self._failed(batch, made.wrong)
        if self._queue:
            self._begin()

    def commit(self) -> None:
        """Commit all that was written, now, and let everybody wait for it. Raises ``sqlite3.Error`` when it was undone."""
        if self._writing:
            self._writing[1].wait()
            self._ended(self._writing[1])
        self._due = False
        if not self._queue:
            return
        batch = self._taken()
        try:
            self._file.write(_last_words(batch), self.revision)
        except sqlite3.Error as wrong:
            self._failed(batch, wrong)
            raise
        self._done(batch)

    def _done(self, batch: list[Change]) -> None:
        if batch:
            self.committed = batch[-1].revision
        self._before = {}
        for it in self._queue:  # what was written meanwhile
            self._before.setdefault(it.storage, {}).setdefault(_place(it), it.previous)
        for it in batch:
            self._newest[it.storage] = it.revision
        self._history.add(batch)
        self._wake(self.committed)
        if self.trouble:
            self.trouble = ""
            _log.warning("the database can be written again")

    def _failed(self, batch: list[Change], wrong: BaseException) -> None:
        """Nothing of it was kept, so nothing of it was: also not what was built on it."""
        lost = [*batch, *self._taken()]
        for storage, before in self._before.items():
            for place, obj in before.items():
                if obj is None:
                    self._objects[storage].pop(place, None)
                else:
                    self._objects[storage][place] = obj
        self._before = {}
        for change in reversed(lost):
            self._hear(_reversed(change))
            for tell in self.undone:
                tell(change)
        self._why = str(wrong)
        self._failures += bool(lost)
        self._wake(self.revision)
        if self.trouble != self._why:
            self.trouble = self._why
            _log.error("the database cannot be written; it is tried again", reason=self.trouble)
        if self._again:
            self._again.cancel()
        with contextlib.suppress(RuntimeError):  # no loop, no second chance
            self._again = asyncio.get_running_loop().call_later(_AGAIN_S, self._begin)

    def _wake(self, revision: int) -> None:
        while self._waiters and self._waiters[0][0] <= revision:
            waiter = self._waiters.popleft()[2]
            if not waiter.done():  # its client may have left
                waiter.set_result(None)

    def _too_late(self) -> None:
        """Tell those who waited for too long, and look again when the next one has."""
        loop, self._late = asyncio.get_running_loop(), None
        while self._waiters and (self._waiters[0][1] <= loop.time() or self._waiters[0][2].done()):
            waiter = self._waiters.popleft()[2]
            if not waiter.done():
                said = (
                    f"the database took no write for {COMMIT_S:.0f} s: the change may still be kept, or not"
                )
                waiter.set_exception(ApiError(504, "Timeout", said))
        if self._waiters:
            self._late = loop.call_at(self._waiters[0][1], self._too_late)

    def close(self) -> None:
        """Write everything and end all followers."""
        try:
            self.commit()
        except sqlite3.Error as wrong:
            _log.error("the last changes could not be written", reason=str(wrong))
        self._closed = True
        self._history.stop()
        self._writer.close()
        self._file.close()


def _of(found: dict[_Place, Object] | dict[_Place, Object | None], namespace: str) -> list[_Place]:
    return sorted(found) if not namespace else sorted(it for it in found if it[0] == namespace)


def _place(change: Change) -> _Place:
    metadata = change.object["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _reversed(change: Change) -> Change:
    """The change that takes another one back."""
    it = change
    if it.type == "DELETED":
        return replace(it, type="ADDED", object=it.previous or it.object, previous=None)
    if it.previous is None:
        return replace(it, type="DELETED", previous=it.object)
    return replace(it, object=it.previous, previous=it.object)


def _last_words(batch: list[Change]) -> Written:
    found: Written = {}
    for it in batch:
        key: Key = (*it.storage, *_place(it))
        found[key] = None if it.type == "DELETED" else (it.revision, it.body)
    return found


def _refused(why: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", f"{why}: try again", {"retryAfterSeconds": 1})
