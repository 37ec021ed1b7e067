"""What happened since? The recent changes that are in the file, and who follows them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import takewhile

import msgspec

from skiff.api import Object

#: Changes kept for watches that resume, at most so many and so many bytes (as JSON, without what was before). Older
#: resourceVersions get 410 Gone, and a watcher that has not read them yet is ended, and lists again.
KEPT_CHANGES = 20_000
KEPT_BYTES = 16 * 1024 * 1024

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
    body: bytes  # the object as JSON


@dataclass(frozen=True, slots=True)
class _Kept:
    """A change as it is remembered: JSON takes a fifth of the memory that objects do, and few watches resume."""

    revision: int
    type: str
    storage: Storage
    body: bytes
    previous: bytes | None

    def change(self) -> Change:
        before = None if self.previous is None else msgspec.json.decode(self.previous)
        return Change(
            self.revision, self.type, self.storage, msgspec.json.decode(self.body), before, self.body
        )


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
        """Called by the history."""
        self._changes.append(change)
        self._some.set()

    def forgotten(self, oldest: int) -> None:
        """Called by the history, which keeps nothing up to that revision: nor does a follower that reads too slowly."""
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


class History:
    """The recent changes, and their followers."""

    def __init__(self, revision: int) -> None:
        self._oldest = revision  # it begins here
        self._kept: deque[_Kept] = deque()
        self._bytes = 0
        self._followers: dict[Storage, set[Follower]] = {}

    def follow(self, storage: Storage, since: int) -> Follower:
        """Hear every change after a revision. Raises GoneError when the history does not reach back to it."""
        if since < self._oldest:
            raise GoneError(f"too old resource version: {since} ({self._oldest})")
        follower = Follower(storage, self._left)
        for it in self._since(since):
            if it.storage == storage:
                follower.tell(it.change())
        self._followers.setdefault(storage, set()).add(follower)
        return follower

    def _left(self, follower: Follower) -> None:
        if among := self._followers.get(follower.storage):
            among.discard(follower)

    def _since(self, revision: int) -> Iterable[_Kept]:
        """Looked for from the end: who resumes was rarely gone for long."""
        found = list(takewhile(lambda it: it.revision > revision, reversed(self._kept)))
        return reversed(found)

    def add(self, changes: Iterable[Change]) -> None:
        """Keep and tell what happened."""
        oldest = self._oldest
        for change in changes:
            for it in self._followers.get(change.storage, ()):
                it.tell(change)
            before = None if change.previous is None else msgspec.json.encode(change.previous)
            self._kept.append(_Kept(change.revision, change.type, change.storage, change.body, before))
            self._bytes += len(change.body)
        while len(self._kept) > 1 and (len(self._kept) > KEPT_CHANGES or self._bytes > KEPT_BYTES):
            gone = self._kept.popleft()
            self._oldest, self._bytes = gone.revision, self._bytes - len(gone.body)
        for it in self._everybody() if self._oldest != oldest else ():
            it.forgotten(self._oldest)

    def stop(self) -> None:
        """End all followers."""
        for it in self._everybody():
            it.stop()

    def _everybody(self) -> list[Follower]:
        return [it for some in self._followers.values() for it in some]
