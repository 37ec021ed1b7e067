"""Which object is looked at next? A queue that holds every key once and slows down for keys that fail."""

from __future__ import annotations

import asyncio
import random

#: (namespace, name); a third part where a controller serves several kinds.
Key = tuple[str, ...]

FIRST_RETRY_S = 0.05
LONGEST_RETRY_S = 30.0


class WorkQueue:
    """Keys wait at most once, and a key being worked on waits until that is done: no two workers share an object."""

    def __init__(self) -> None:
        self._waiting: dict[Key, None] = {}
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._some = asyncio.Event()

    def add(self, key: Key) -> None:
        """Look at the key as soon as a worker is free."""
        if key in self._working:
            self._again.add(key)
            return
        self._waiting[key] = None
        self._some.set()

    def add_after(self, key: Key, delay_s: float) -> None:
        """Look at the key later; the earliest of several wishes counts."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(delay_s, 0.0)
        present = self._timers.get(key)
        if present is not None:
            if present.when() <= due:
                return
            present.cancel()
        self._timers[key] = loop.call_at(due, self._ring, key)

    def _ring(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def get(self) -> Key:
        """The key that has waited longest. Give it back with ``done``."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """The key's work has ended, well or badly."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def succeeded(self, key: Key) -> None:
        """Forget earlier failures."""
        self._failures.pop(key, None)

    def failed(self, key: Key) -> float:
        """Try again later, twice as late each time, with jitter. Returns the delay."""
        count = self._failures[key] = min(self._failures.get(key, 0) + 1, 20)
        delay: float = min(FIRST_RETRY_S * 2 ** (count - 1), LONGEST_RETRY_S) * random.uniform(0.75, 1.25)
        self.add_after(key, delay)
        return delay

    def close(self) -> None:
        """Cancel what would ring later."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
