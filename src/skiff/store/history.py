"""What happened since? The recent changes that are in the file, and who follows them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from skiff.api import Object

#: Changes kept for watches that resume, at most so many and so many bytes (as JSON; in memory several times that). Older
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
        self._changes: deque[Change] = deque()
        self._bytes = 0
        self._followers: dict[Storage, set[Follower]] = {}

    def follow(self, storage: Storage, since: int) -> Follower:
        """Hear every change after a revision. Raises GoneError when the history does not reach back to it."""
        if since < self._oldest:
            raise GoneError(f"too old resource version: {since} ({self._oldest})")
        follower = Follower(storage, self._left)
        for change in self._since(since):
            if change.storage == storage:
                follower.tell(change)
        self._followers.setdefault(storage, set()).add(follower)
        return follower

    def _left(self, follower: Follower) -> None:
        if among := self._followers.get(follower.storage):
            among.discard(follower)

    def _since(self, revision: int) -> Iterator[Change]:
        if self._changes and revision < self._changes[-1].revision:
            yield from (it for it in self._changes if it.revision > revision)

    def add(self, changes: Iterable[Change]) -> None:
        """Keep and tell what happened."""
        before = self._oldest
        for change in changes:
            for it in self._followers.get(change.storage, ()):
                it.tell(change)
            self._changes.append(change)
            self._bytes += len(change.body)
        while len(self._changes) > 1 and (len(self._changes) > KEPT_CHANGES or self._bytes > KEPT_BYTES):
            oldest = self._changes.popleft()
            self._oldest, self._bytes = oldest.revision, self._bytes - len(oldest.body)
        for it in self._everybody() if self._oldest != before else ():
            it.forgotten(self._oldest)

    def stop(self) -> None:
        """End all followers."""
        for it in self._everybody():
            it.stop()

    def _everybody(self) -> list[Follower]:
        return [it for some in self._followers.values() for it in some]
