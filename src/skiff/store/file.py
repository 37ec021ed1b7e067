"""How do objects last? One SQLite file, written by whole transactions, each synced to the disk before it counts."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from skiff.api import Object

#: What the file looks like; another number is another program's.
FORMAT = 1
#: How long a transaction waits for somebody else's lock. It waits in a thread, so nobody else does.
_LOCK_MS = 1000

#: (group, plural, namespace, name)
Key = tuple[str, str, str, str]
#: The last words of a transaction about a key: (revision, body), None for what was removed.
Written = dict[Key, tuple[int, bytes] | None]


class DatabaseError(Exception):
    """The file cannot be used; the message says which, why, and what to do. Nothing of it was changed."""


class File:
    """The file. Who calls ``write`` sees to it that nobody else does meanwhile."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        _require_whole(path)
        try:
            if path is not None:
                path.touch(mode=0o600)  # Secrets lie in it; what SQLite puts beside it gets the same rights
                path.chmod(0o600)
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
            self._open()
        except (sqlite3.Error, OSError) as wrong:
            raise _unusable(path, wrong) from wrong

    def _open(self) -> None:
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found > FORMAT:
            raise DatabaseError(
                f"{self._path} was written by a newer skiff (format {found}, this one knows {FORMAT}): nothing was changed. "
                "Use that version, or give up the cluster's objects with `skiff delete`"
            )
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")  # a commit is on the disk, also when the power goes
        self._db.execute("PRAGMA busy_timeout=0")  # whoever holds a lock must not hold up everybody
        if found == FORMAT:
            return
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS object (grp TEXT, plural TEXT, ns TEXT, name TEXT, rev INTEGER, body BLOB,"
            " PRIMARY KEY (grp, plural, ns, name)) WITHOUT ROWID"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS revision (one INTEGER PRIMARY KEY CHECK (one = 1), rev INTEGER)"
        )
        self._db.execute(f"PRAGMA user_version={FORMAT}")
        self._db.execute("COMMIT")

    def read(self) -> tuple[int, list[tuple[Key, Object, int]]]:
        """(the newest revision, all objects and their sizes as JSON)."""
        found: list[tuple[Key, Object, int]] = []
        try:
            row = self._db.execute("SELECT rev FROM revision").fetchone()
            newest = int(row[0]) if row else 1
            for *key, rev, body in self._db.execute("SELECT grp, plural, ns, name, rev, body FROM object"):
                found.append((tuple(key), msgspec.json.decode(body, type=dict), len(body)))
                newest = max(newest, rev)
        except (sqlite3.Error, msgspec.DecodeError, TypeError, ValueError) as wrong:
            raise _unusable(self._path, wrong) from wrong
        return newest, found

    def prepare(self, written: Written, revision: int) -> Callable[[], None]:
        """A transaction without its end, which is what is returned: call it in a thread. What it raises, ``write`` would."""
        try:
            self._fill(written, revision)
        except sqlite3.Error:  # somebody's lock, perhaps: then the thread waits for it
            return partial(self.write, written, revision)
        return self._commit

    def write(self, written: Written, revision: int) -> None:
        """One transaction: all of it is on the disk afterwards, or ``sqlite3.Error`` and none of it."""
        self._db.execute(f"PRAGMA busy_timeout={_LOCK_MS}")
        try:
            self._fill(written, revision)
        finally:
            self._db.execute("PRAGMA busy_timeout=0")
        self._commit()

    def _fill(self, written: Written, revision: int) -> None:
        gone = [key for key, value in written.items() if value is None]
        kept = [(*key, *value) for key, value in written.items() if value is not None]
        with self._or_nothing():
            self._db.execute("BEGIN IMMEDIATE")
            if gone:
                self._db.executemany(
                    "DELETE FROM object WHERE grp = ? AND plural = ? AND ns = ? AND name = ?", gone
                )
            if kept:
                self._db.executemany("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?)", kept)
            self._db.execute("INSERT OR REPLACE INTO revision VALUES (1, ?)", (revision,))

    def _commit(self) -> None:
        with self._or_nothing():
            self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _or_nothing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):  # it may have been rolled back already
                self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Use it no more."""
        self._db.close()


def _require_whole(path: Path | None) -> None:
    """SQLite takes an empty file for a new one, and throws away the log beside it, where the objects may be."""
    if path is None:
        return
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size and not (path.exists() and path.stat().st_size):
        raise _unusable(path, "it is empty or missing, but its log is there")


def _unusable(path: Path | None, why: object) -> DatabaseError:
    return DatabaseError(
        f"{path}, which holds the cluster's objects, cannot be read: {why}. Nothing was changed. "
        "Put a copy of it in its place, or give up the objects with `skiff delete`"
    )
