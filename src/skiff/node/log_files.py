"""Where does what a container says go? One file for each of its runs, lines with time and stream, as the CRI writes them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

#: A file is begun anew beyond this size; one older part is kept.
LARGEST = 10 * 1024 * 1024
_POLL_S = 0.2
_LONGEST_LINE = 256 * 1024


class Output(Protocol):
    """Where a program's output comes from."""

    async def read(self, size: int, /) -> bytes: ...


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
            while data := await output.read(65536):
                heard(data)
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    lines, rest = [*lines, rest], b""
                if lines:
                    self._write(stream, lines)
                await asyncio.sleep(0)  # who says much keeps nobody waiting
        finally:  # also when the daemon leaves in the middle of a line
            if rest:
                self._write(stream, [rest])

    def _write(self, stream: str, lines: list[bytes]) -> None:
        head = f"{datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%S.%f000Z')} {stream} F ".encode()
        with contextlib.suppress(OSError):  # a full disk must not end the container
            self._file.write(b"".join(head + line + b"\n" for line in lines))
            if self._file.tell() > LARGEST:
                self._file.close()
                self.path.replace(self.path.with_suffix(".old"))
                self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        """The run is over."""
        self.closed = True
        self._file.close()


async def read(
    path: Path, *, ended: asyncio.Event | None, tail: int | None, since: datetime | None, timestamps: bool
) -> AsyncIterator[bytes]:
    """The lines of a file; with ``ended``, those to come as well until it is set."""
    older = path.with_suffix(".old")
    lines = older.read_bytes().splitlines() if older.exists() else []
    with contextlib.closing(_Growing(path)) as file:
        lines += file.read().splitlines()
        if since is not None:
            lines = [line for line in lines if _time(line) >= since]
        if tail is not None:
            lines = lines[len(lines) - tail :] if tail else []
        if lines:
            yield b"".join(_shown(line, timestamps=timestamps) for line in lines)
        rest = b""
        while ended is not None:
            over = ended.is_set()
            *fresh, rest = (rest + file.read()).split(b"\n")
            if fresh:
                yield b"".join(_shown(line, timestamps=timestamps) for line in fresh)
            if over:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _POLL_S)


class _Growing:
    """A file that is written to while it is read, begun anew when it is large, and gone with its pod."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def read(self) -> bytes:
        """What is new: the rest of the file, and what its successor has, so that nothing is lost between the two."""
        content = self._file.read() if self._file else b""
        with contextlib.suppress(FileNotFoundError):
            if self._file is None or self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino:
                fresh = self._path.open("rb")
                self.close()
                self._file = fresh
                content += fresh.read()
        return content

    def close(self) -> None:
        """No more is read."""
        if self._file:
            self._file.close()


def last_lines(path: Path, count: int) -> str:
    """The end of what a run said."""
    if not path.exists():
        return ""
    lines = path.read_bytes().splitlines()[-count:]
    return b"".join(_shown(line, timestamps=False) for line in lines).decode(errors="replace")


def end_of(path: Path, size: int) -> str:
    """The last bytes of what a container wrote, which may be any amount; nothing when it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _time(line: bytes) -> datetime:
    try:
        return datetime.fromisoformat(line.split(b" ", 1)[0].decode()[:26] + "+00:00")
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _shown(line: bytes, *, timestamps: bool) -> bytes:
    parts = line.split(b" ", 3)
    if len(parts) < 4:
        return b""
    return (parts[0] + b" " if timestamps else b"") + parts[3] + b"\n"


def log_path(folder: Path, container: str, run: int) -> Path:
    """Where the log of one run of a pod's container lies."""
    return folder / "logs" / container / f"{run}.log"
