"""How are bytes moved to and from a descriptor without waiting? Ends of pipes and terminals in the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

_READ = 32 * 1024


class Source:
    """What can be read from. It ends when nobody can write any more, or, once ``finish`` is called, when it is empty."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._last = False
        self._waiting: asyncio.Future[None] | None = None

    async def read(self, size: int = _READ, /) -> bytes:
        """What is there; b"" at the end."""
        while self._descriptor >= 0:
            try:
                return os.read(self._descriptor, size)
            except BlockingIOError:
                if self._last:
                    break
                await self._readable()
            except OSError:  # EIO: the last program has closed its terminal
                break
        return b""

    def finish(self) -> None:
        """Nothing more will be written."""
        self._last = True
        self._wake()

    def close(self) -> None:
        """No more is read."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with contextlib.suppress(RuntimeError):  # no loop, no reader
                asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
        self._wake()

    def _wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    async def _readable(self) -> None:
        loop, descriptor = asyncio.get_running_loop(), self._descriptor
        self._waiting = loop.create_future()
        loop.add_reader(descriptor, self._wake)
        try:
            await self._waiting
        finally:
            if self._descriptor == descriptor:
                loop.remove_reader(descriptor)
            self._waiting = None


class Sink:
    """What can be written to; ``ended`` is told when its input shall end for whoever reads it."""

    def __init__(self, descriptor: int, ended: Callable[[], None]) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor, self._ended = descriptor, ended

    async def write(self, data: bytes | None) -> None:
        """All of it, as the reader takes it; None ends it."""
        if data is None:
            if self._descriptor >= 0:
                self._ended()
            return self.close()
        with contextlib.suppress(OSError):  # nobody reads any more
            while data and self._descriptor >= 0:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:
                    await writable(self._descriptor)
        return None

    def close(self) -> None:
        """No more is written by us."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


async def writable(descriptor: int) -> None:
    """Until it can be written to."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)
