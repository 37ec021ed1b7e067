"""Where does what a container says go? One file for each of its runs, lines with time and stream, as the CRI writes them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol
from weakref import WeakKeyDictionary

#: A file is begun anew beyond this size; one older part is kept.
LARGEST = 10 * 1024 * 1024
_POLL_S = 0.2
_LONGEST_LINE = 256 * 1024
_PIECE = 32 * 1024
_READ = 64 * 1024
#: Who fills half of a piece says much. For what all of those cost together, so many times as long the daemon does other things.
_LOUD, _OTHERS = _PIECE // 2, 3


class Output(Protocol):
    """Where a program's output comes from."""

    async def read(self, size: int, /) -> bytes: ...


#: Of each event loop: whose turn it is among those who say much.
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@contextlib.asynccontextmanager
async def _turn(size: int) -> AsyncIterator[None]:
    """The time in which a piece is written down. Who says much waits, and his pipe fills; others never do."""
    if size < _LOUD:
        yield
        await asyncio.sleep(0)
        return
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        begun = time.monotonic()
        yield
        await asyncio.sleep((time.monotonic() - begun) * _OTHERS)


class LogFile:
    """One run of one container."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.closed = path, False
        self._file = path.open("ab", buffering=0)

    async def pump(self, stream: str, output: Output, heard: Callable[[bytes], None]) -> None:
        """Write what comes until it ends, and let it be heard as it comes."""
        rest = b""
        try:
            while data := await output.read(_PIECE):
                rest += data
                async with _turn(len(data)):
                    heard(data)
                    rest = self._lines(stream, rest)
        finally:  # also when the daemon leaves before its turn, or in the middle of a line
            if rest := self._lines(stream, rest):
                self._write(stream, rest)

    def _lines(self, stream: str, said: bytes) -> bytes:
        """Write the whole lines; what is left of the last one."""
        end = said.rfind(b"\n")
        if end < 0:
            if len(said) <= _LONGEST_LINE:
                return said
            end = len(said)
        self._write(stream, said[:end])
        return said[end + 1 :]

    def _write(self, stream: str, lines: bytes) -> None:
        head = f"{datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%S.%f000Z')} {stream} F ".encode()
        with contextlib.suppress(OSError):  # a full disk must not end the container
            self._file.write(head + lines.replace(b"\n", b"\n" + head) + b"\n")
            if self._file.tell() > LARGEST:
                self._file.close()
                self.path.replace(_older(self.path))
                self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        """The run is over."""
        self.closed = True
        self._file.close()


async def read(
    path: Path, *, ended: asyncio.Event | None, tail: int | None, since: datetime | None, timestamps: bool
) -> AsyncIterator[bytes]:
    """The lines of a file; with ``ended``, those to come as well until it is set.

    They are read as they are asked for: many may ask at once for all that a container said.
    """
    least = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").encode() if since else b""
    with contextlib.closing(_Growing(path, tail)) as file:
        rest = b""
        while True:
            over = ended is None or ended.is_set()
            piece = file.read(_READ)
            *lines, rest = (rest + piece).split(b"\n")
            if not piece and over:
                lines, rest = [rest] if rest else [], b""
            if shown := b"".join(_shown(it, timestamps=timestamps) for it in lines if it >= least):
                yield shown
            if piece:
                await asyncio.sleep(0)
            elif over:
                return
            elif ended:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), _POLL_S)


class _Growing:
    """A file that is written to while it is read, begun anew when it is large, and gone with its pod."""

    def __init__(self, path: Path, tail: int | None) -> None:
        """``tail``: only so many lines of those that are there."""
        self._path = path
        self._files: list[BinaryIO] = []  # the one that is read first
        for it in (path, _older(path)):
            with contextlib.suppress(FileNotFoundError):
                self._files.insert(0, it.open("rb"))
                if tail is not None:
                    tail -= _to_tail(self._files[0], tail)

    def read(self, size: int) -> bytes:
        """What is new, at most so much: the rest of a file, then what its successor has, so that nothing is lost between."""
        while self._files:
            if content := self._files[0].read(size):
                return content
            if len(self._files) == 1 and not self._succeeded():
                return b""
            self._files.pop(0).close()
        return b"" if not self._succeeded() else self._files[0].read(size)

    def _succeeded(self) -> bool:
        """Whether there is another file by now; it is opened."""
        with contextlib.suppress(FileNotFoundError):
            last = os.fstat(self._files[-1].fileno()).st_ino if self._files else 0
            if self._path.stat().st_ino != last:
                self._files.append(self._path.open("rb"))
                return True
        return False

    def close(self) -> None:
        """No more is read."""
        for it in self._files:
            it.close()


def _to_tail(file: BinaryIO, count: int) -> int:
    """Go to the last lines of a file; how many there are, at most ``count``."""
    place, found = file.seek(0, os.SEEK_END), 0
    while place and found <= count:
        size = min(place, _READ)
        place = file.seek(place - size)
        part = file.read(size)
        ends = part.count(b"\n")
        if found + ends > count:  # the line before the first one wanted ends in this part
            cut = part.split(b"\n", ends - (count - found))
            file.seek(place + size - len(cut[-1]))
            return count
        found += ends
    file.seek(0)
    return found


def last_lines(path: Path, count: int) -> str:
    """The end of what a run said."""
    try:
        with path.open("rb") as file:
            _to_tail(file, count)
            lines = file.read().splitlines()
    except FileNotFoundError:
        return ""
    return b"".join(_shown(line, timestamps=False) for line in lines).decode(errors="replace")


def end_of(path: Path, size: int) -> str:
    """The last bytes of what a container wrote, which may be any amount; nothing when it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _shown(line: bytes, *, timestamps: bool) -> bytes:
    parts = line.split(b" ", 3)
    if len(parts) < 4:
        return b""
    return (parts[0] + b" " if timestamps else b"") + parts[3] + b"\n"


def log_path(folder: Path, container: str, run: int) -> Path:
    """Where the log of one run of a pod's container lies."""
    return folder / "logs" / container / f"{run}.log"


def remove(path: Path) -> None:
    """Both parts of what a run said."""
    for it in (path, _older(path)):
        it.unlink(missing_ok=True)


def _older(path: Path) -> Path:
    return path.with_suffix(".old")
