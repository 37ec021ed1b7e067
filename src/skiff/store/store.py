"""What is stored, and what happened since? Every object in memory and in one SQLite file, every change in order.

The file is written behind: changes of one turn of the loop are one transaction, so a crash of the machine may lose the
last few milliseconds, and never half a change. While the file cannot be written (a full disk, a lock of somebody else's) the
cluster goes on in memory, ``trouble`` says why, and what is missing is tried again every second.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from skiff.api import Object

_log = structlog.get_logger("skiff.store")

#: Changes kept for watches that resume, at most so many and so many bytes (as JSON; in memory several times that). Older
#: resourceVersions get 410 Gone, and a watcher that has not read them yet is ended, and lists again.
KEPT_CHANGES = 20_000
KEPT_BYTES = 16 * 1024 * 1024
_AGAIN_S = 1.0

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
    size: int  # of the object as JSON


class GoneError(LookupError):
    """The history does not reach back that far."""


class Follower:
    """One who hears every change of a storage from some revision on."""

    def __init__(self, storage: Storage, end: Callable[[Follower], None]) -> None:
        self.storage = storage
        self._changes: deque[Change] = deque()
        self._some, self._over = asyncio.Event(), False
        self._end = end

    async def next(self) -> Change | None:
        """The next change; None when the follower was ended because it fell behind or the store closed."""
        while not self._changes and not self._over:
            self._some.clear()
            await self._some.wait()
        return self._changes.popleft() if self._changes else None

    @property
    def waiting(self) -> bool:
        """Whether ``next`` has something without waiting."""
        return bool(self._changes) or self._over

    def tell(self, change: Change) -> None:
        """Called by the store."""
        self._changes.append(change)
        self._some.set()

    def forgotten(self, oldest: int) -> None:
        """Called by the store, which keeps nothing up to that revision: nor does a follower that reads too slowly."""
        if self._changes and self._changes[0].revision <= oldest:
            self._changes.clear()
            self.stop()
            self.close()

    def stop(self) -> None:
        """Let ``next`` return None after what is queued."""
        self._over = True
        self._some.set()

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
        self._kept_bytes = 0
        self._followers: set[Follower] = set()
        #: What the file lacks: (group, plural, namespace, name) -> (revision, body), None for what was removed.
        self._unwritten: dict[tuple[str, str, str, str], tuple[int, bytes] | None] = {}
        self._due = False  # somebody will call commit
        #: Why the file cannot be written, while it cannot.
        self.trouble = ""
        self._db.execute("PRAGMA busy_timeout=0")  # whoever holds a lock must not hold up everybody

    # --- reading ---------------------------------------------------------------------------

    def get(self, storage: Storage, namespace: str, name: str) -> Object | None:
        """One object, shared: do not change it."""
        return self._objects.get(storage, {}).get((namespace, name))

    def all(self, storage: Storage, namespace: str = "") -> list[Object]:
        """All of a namespace ("" is all), by namespace and name."""
        found = self._objects.get(storage, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    # --- writing ---------------------------------------------------------------------------

    def put(self, storage: Storage, obj: Object) -> Object:
        """Store a new state at the next revision, which becomes its resourceVersion; returns what is stored."""
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        self.revision += 1
        stored = {**obj, "metadata": {**metadata, "resourceVersion": str(self.revision)}}
        previous = self._objects.setdefault(storage, {}).get(key)
        body = msgspec.json.encode(stored)
        self._objects[storage][key] = stored
        self._write((*storage, *key), (self.revision, body))
        kind = "MODIFIED" if previous else "ADDED"
        self._tell(Change(self.revision, kind, storage, stored, previous, len(body)))
        return stored

    def remove(self, storage: Storage, namespace: str, name: str) -> Object | None:
        """Forget an object; returns its last state with the revision of its end."""
        previous = self._objects.get(storage, {}).pop((namespace, name), None)
        if previous is None:
            return None
        self.revision += 1
        last = {**previous, "metadata": {**previous["metadata"], "resourceVersion": str(self.revision)}}
        self._write((*storage, namespace, name), None)
        size = len(msgspec.json.encode(last))
        self._tell(Change(self.revision, "DELETED", storage, last, previous, size))
        return last

    def _write(self, key: tuple[str, str, str, str], value: tuple[int, bytes] | None) -> None:
        self._unwritten[key] = value
        if not self._due:
            try:
                asyncio.get_running_loop().call_soon(self.commit)
                self._due = True
            except RuntimeError:  # no loop: a command reads or writes the file by itself
                self._commit()

    def commit(self) -> None:
        """Make what was written lasting; later, when the file cannot be written now."""
        self._due = False
        try:
            self._commit()
        except sqlite3.Error as wrong:
            with contextlib.suppress(RuntimeError):  # no loop, no second chance
                asyncio.get_running_loop().call_later(_AGAIN_S, self.commit)
                self._due = True
            if self.trouble != str(wrong):
                self.trouble = str(wrong)
                _log.error("the database cannot be written; it is tried again", reason=self.trouble)
        else:
            if self.trouble:
                self.trouble = ""
                _log.warning("the database can be written again")

    def _commit(self) -> None:
        if not self._unwritten:
            return
        gone = [key for key, value in self._unwritten.items() if value is None]
        kept = [(*key, *value) for key, value in self._unwritten.items() if value is not None]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "DELETE FROM object WHERE grp = ? AND plural = ? AND ns = ? AND name = ?", gone
            )
            self._db.executemany("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?)", kept)
            self._db.execute("INSERT OR REPLACE INTO revision VALUES (1, ?)", (self.revision,))
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._unwritten.clear()

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
        for it in self._followers:
            if it.storage == change.storage:
                it.tell(change)
        self._history.append(change)
        self._kept_bytes += change.size
        before = self._oldest
        while len(self._history) > 1 and (len(self._history) > KEPT_CHANGES or self._kept_bytes > KEPT_BYTES):
            oldest = self._history.popleft()
            self._oldest, self._kept_bytes = oldest.revision, self._kept_bytes - oldest.size
        for it in list(self._followers) if self._oldest != before else ():
            it.forgotten(self._oldest)
