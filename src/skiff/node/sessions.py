"""How does a command run inside a container for somebody outside? Pipes, or a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import AsyncIterator
from pathlib import Path

from skiff.node import log_files


class PipeSession:
    """``skiff.api.ExecSession`` over pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def write(self, data: bytes | None) -> None:
        """To the command's stdin; None ends it."""
        stdin = self._process.stdin
        assert stdin
        with contextlib.suppress(ConnectionError, RuntimeError):
            if data is None:
                stdin.close()
            else:
                stdin.write(data)
                await stdin.drain()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Both outputs as they come."""
        queue: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(64)

        async def pump(number: int, reader: asyncio.StreamReader) -> None:
            while data := await reader.read(32768):
                await queue.put((number, data))
            await queue.put((number, b""))

        assert self._process.stdout
        assert self._process.stderr
        pumps = [
            asyncio.ensure_future(pump(1, self._process.stdout)), asyncio.ensure_future(pump(2, self._process.stderr)),
        ]  # fmt: skip
        try:
            left = 2
            while left:
                number, data = await queue.get()
                if data:
                    yield number, data
                else:
                    left -= 1
        finally:
            for it in pumps:
                it.cancel()

    async def resize(self, columns: int, rows: int) -> None:
        """There is no terminal to resize."""

    async def wait(self) -> int:
        """The exit code."""
        code = await self._process.wait()
        return 128 - code if code < 0 else code

    async def kill(self) -> None:
        """The client left."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


class TerminalSession:
    """``skiff.api.ExecSession`` over a pseudo terminal."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self._process, self._master = process, master

    async def write(self, data: bytes | None) -> None:
        """Keys; None is Ctrl-D."""
        with contextlib.suppress(OSError):
            os.write(self._master, b"\x04" if data is None else data)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """All output is one stream."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.run_in_executor(None, os.read, self._master, 32768)
            except OSError:  # EIO: the last process closed the terminal
                return
            if not data:
                return
            yield 1, data

    async def resize(self, columns: int, rows: int) -> None:
        """The client's window changed."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def wait(self) -> int:
        """The exit code."""
        code = await self._process.wait()
        with contextlib.suppress(OSError):
            os.close(self._master)
        return 128 - code if code < 0 else code

    async def kill(self) -> None:
        """The client left."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


class AttachedSession:
    """``skiff.api.ExecSession`` on the container's own program: its log is what it says."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, ended: asyncio.Event) -> None:
        self._process, self._log, self._ended = process, log, ended
        self._left = asyncio.Event()

    async def write(self, data: bytes | None) -> None:
        """To its stdin, when the container has one; it stays open for the next who attaches."""
        stdin = self._process.stdin
        if stdin is None or data is None:
            return
        with contextlib.suppress(ConnectionError, RuntimeError):
            stdin.write(data)
            await stdin.drain()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Both outputs as one."""
        async for data in log_files.read(self._log, ended=self._ended, tail=0, since=None, timestamps=False):
            if self._left.is_set():
                return
            yield 1, data

    async def resize(self, columns: int, rows: int) -> None:
        """There is no terminal to resize."""

    async def wait(self) -> int:
        """The exit code."""
        code = await self._process.wait()
        return 128 - code if code < 0 else code

    async def kill(self) -> None:
        """The client left; the program goes on."""
        self._left.set()


async def start(argv: list[str], env: dict[str, str], *, tty: bool) -> PipeSession | TerminalSession:
    """Run it."""
    if not tty:
        pipe = asyncio.subprocess.PIPE
        return PipeSession(
            await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env)
        )
    master, slave = os.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={"TERM": "xterm", **env},
            start_new_session=True,
        )
    finally:
        os.close(slave)
    return TerminalSession(process, master)
