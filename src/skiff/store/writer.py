"""Who waits for the disk? One thread, which ends transactions one after the other.

A pool of threads would take 20 microseconds more of the loop for each of them, and there is one for every few writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue


class Commit:
    """A transaction that is being ended. ``wrong`` is why it was not, once it is over."""

    def __init__(self, end: Callable[[], None]) -> None:
        self.wrong: BaseException | None = None
        self._end = end
        self._over = threading.Lock()
        self._over.acquire()

    def run(self) -> None:
        """In the thread."""
        try:
            self._end()
        except BaseException as wrong:  # noqa: BLE001  # whoever asked for it is told
            self.wrong = wrong
        self._over.release()

    def wait(self) -> None:
        """Until it is over. Once."""
        self._over.acquire()


class Writer:
    """The thread, from the first transaction on."""

    def __init__(self) -> None:
        self._given: SimpleQueue[
            tuple[Commit, asyncio.AbstractEventLoop, Callable[[Commit], None]] | None
        ] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, end: Callable[[], None], told: Callable[[Commit], None]) -> Commit:
        """Call ``end`` in the thread, then ``told`` in the running loop."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="store", daemon=True)
            self._thread.start()
        made = Commit(end)
        self._given.put((made, asyncio.get_running_loop(), told))
        return made

    def _run(self) -> None:
        while (given := self._given.get()) is not None:
            made, loop, told = given
            made.run()
            with contextlib.suppress(
                RuntimeError
            ):  # the loop is over, and who closes the store has looked after it
                loop.call_soon_threadsafe(told, made)
            del given, made, told  # what was written may be forgotten while nothing else is

    def close(self) -> None:
        """End the thread, after what it was given."""
        self._given.put(None)
        if self._thread:
            self._thread.join()
