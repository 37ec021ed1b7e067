"""What is stored, and what happened since? Every object in memory and in one SQLite file, every change in order.

The file is written behind: changes of one turn of the loop are one transaction, so a crash of the machine may lose the
last few milliseconds, and never half a change.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from skiff.api import Object

#: Events kept for watches that resume; older resourceVersions get 410 Gone.
KEPT_EVENTS = 20_000
#: A watcher that falls further behind is ended, and lists again.
QUEUE_LIMIT = 20_000

#: (group, plural): all versions of a resource are stored together.
Storage = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """One step of history. ``previous`` is None for a new object; ``object`` is the last state of a deleted one."""

    revision: int
    type: str  # ADDED, MODIFIED, DELETED
    storage: Storage
    object: Object
    previous: Object | None


class GoneError(LookupError):
    """The history does not reach back that far."""


class Follower:
    """One who hears every change of a storage from some revision on."""

    def __init__(self, storage: Storage, end: Callable[[Follower], None]) -> None:
        self.storage = storage
        self._queue: asyncio.Queue[Change | None] = asyncio.Queue(QUEUE_LIMIT)
        self._end = end

    async def next(self) -> Change | None:
        """The next change; None when the follower was ended because it fell behind or the store closed."""
        return await self._queue.get()

    def tell(self, change: Change) -> None:
        """Called by the store."""
        try:
            self._queue.put_nowait(change)
        except asyncio.QueueFull:
            self.close()
            self._queue.get_nowait()
            self._queue.put_nowait(None)

    def stop(self) -> None:
        """Let ``next`` return None after what is queued."""
        if not self._queue.full():
            self._queue.put_nowait(None)

    def close(self) -> None:
        """Hear no more."""
        self._end(self)


class Store:
    """All objects at the newest revision, and the recent history."""

    def __init__(self, path: Path | None = None) -> None:
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS object (grp TEXT, plural TEXT, ns TEXT, name TEXT, rev INTEGER, body BLOB,"
            " PRIMARY KEY (grp, plural, ns, name)) WITHOUT ROWID"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS revision (one INTEGER PRIMARY KEY CHECK (one = 1), rev INTEGER)"
        )
        self._objects: dict[Storage, dict[tuple[str, str], Object]] = {}
        for group, plural, namespace, name, body in self._db.execute(
            "SELECT grp, plural, ns, name, body FROM object"
        ):
            self._objects.setdefault((group, plural), {})[namespace, name] = msgspec.json.decode(body)
        row = self._db.execute("SELECT rev FROM revision").fetchone()
        self.revision: int = row[0] if row else 1
        self._oldest = self.revision  # history begins here
        self._history: deque[Change] = deque()
        self._followers: set[Follower] = set()
        self._open = False  # a transaction is open

    # --- reading ---------------------------------------------------------------------------

    def get(self, storage: Storage, namespace: str, name: str) -> Object | None:
        """One object, shared: do not change it."""
        return self._objects.get(storage, {}).get((namespace, name))

    def all(self, storage: Storage, namespace: str = "") -> list[Object]:
        """All of a namespace ("" is all), by namespace and name."""
        found = self._objects.get(storage, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def storages(self) -> list[Storage]:
        """What has objects."""
        return sorted(storage for storage, found in self._objects.items() if found)

    # --- writing ---------------------------------------------------------------------------

    def put(self, storage: Storage, obj: Object) -> Object:
        """Store a new state at the next revision, which becomes its resourceVersion; returns what is stored."""
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        self.revision += 1
        stored = {**obj, "metadata": {**metadata, "resourceVersion": str(self.revision)}}
        previous = self._objects.setdefault(storage, {}).get(key)
        self._objects[storage][key] = stored
        self._write(
            "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?)",
            (*storage, *key, self.revision, msgspec.json.encode(stored)),
        )
        self._tell(Change(self.revision, "MODIFIED" if previous else "ADDED", storage, stored, previous))
        return stored

    def remove(self, storage: Storage, namespace: str, name: str) -> Object | None:
        """Forget an object; returns its last state with the revision of its end."""
        previous = self._objects.get(storage, {}).pop((namespace, name), None)
        if previous is None:
            return None
        self.revision += 1
        last = {**previous, "metadata": {**previous["metadata"], "resourceVersion": str(self.revision)}}
        self._write(
            "DELETE FROM object WHERE grp = ? AND plural = ? AND ns = ? AND name = ?",
            (*storage, namespace, name),
        )
        self._tell(Change(self.revision, "DELETED", storage, last, previous))
        return last

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        if not self._open:
            self._db.execute("BEGIN")
            self._open = True
            try:
                asyncio.get_running_loop().call_soon(self.commit)
            except RuntimeError:  # no loop: a command reads or writes the file by itself
                self._db.execute(statement, values)
                self.commit()
                return
        self._db.execute(statement, values)

    def commit(self) -> None:
        """Make what was written lasting."""
        if self._open:
            self._db.execute("INSERT OR REPLACE INTO revision VALUES (1, ?)", (self.revision,))
            self._db.execute("COMMIT")
            self._open = False

    def close(self) -> None:
        """Write everything and end all followers."""
        for it in list(self._followers):
            it.stop()
        self.commit()
        self._db.close()

    # --- following -------------------------------------------------------------------------

    def follow(self, storage: Storage, since: int) -> Follower:
        """Hear every change after a revision. Raises GoneError when the history does not reach back to it."""
        if since < self._oldest:
            raise GoneError(f"too old resource version: {since} ({self._oldest})")
        follower = Follower(storage, self._followers.discard)
        for change in self._since(since):
            if change.storage == storage:
                follower.tell(change)
        self._followers.add(follower)
        return follower

    def _since(self, revision: int) -> Iterator[Change]:
        if revision < self.revision:
            yield from (it for it in self._history if it.revision > revision)

    def _tell(self, change: Change) -> None:
        self._history.append(change)
        if len(self._history) > KEPT_EVENTS:
            self._oldest = self._history.popleft().revision
        for it in list(self._followers):
            if it.storage == change.storage:
                it.tell(change)
