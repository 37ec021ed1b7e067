"""How does somebody outside use a program inside a container? A new one over pipes or a terminal, or the one that runs."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import os
import struct
import termios
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from skiff.net.kernel import kill
from skiff.node.log_files import LogFile

_READ = 32 * 1024
_LARGEST_SAYING = 10 * 1024
_UNLOCK, _OTHER_END = 0x40045431, 0x5441  # TIOCSPTLCK, TIOCGPTPEER of <asm-generic/ioctls.h>
#: Pieces of output that wait for somebody attached; who reads slower misses some.
_WAITING = 256
Output = tuple[int, bytes]  # (1, stdout) or (2, stderr)


class Terminal:
    """A pseudo terminal: our end of it."""

    def __init__(self, devices: Path = Path("/dev/pts")) -> None:
        """``devices`` is where the container sees its terminals: it finds this one by name only when it is one of them."""
        self._ours = os.open(devices / "ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            fcntl.ioctl(self._ours, _UNLOCK, struct.pack("i", 0))
            #: The program's end, to be closed once the program has it.
            self.theirs = fcntl.ioctl(self._ours, _OTHER_END, os.O_RDWR | os.O_NOCTTY)
        except OSError:
            self.close()
            raise

    async def read(self, size: int = _READ, /) -> bytes:
        """Bytes that were shown; b"" when no program has the terminal any more."""
        while self._ours >= 0:
            try:
                return os.read(self._ours, size)
            except BlockingIOError:
                await self._until(
                    asyncio.get_running_loop().add_reader, asyncio.get_running_loop().remove_reader
                )
            except OSError:  # EIO: the last program has closed it
                break
        return b""

    async def write(self, content: bytes) -> None:
        """Keys."""
        while content and self._ours >= 0:
            try:
                content = content[os.write(self._ours, content) :]
            except BlockingIOError:
                await self._until(
                    asyncio.get_running_loop().add_writer, asyncio.get_running_loop().remove_writer
                )
            except OSError:
                return

    async def _until(
        self, add: Callable[[int, Callable[[], None]], None], remove: Callable[[int], bool]
    ) -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        number = self._ours
        add(number, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            remove(number)

    def resize(self, columns: int, rows: int) -> None:
        """The client's window changed."""
        with contextlib.suppress(OSError, struct.error):
            fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Programs that have it are told to end (SIGHUP)."""
        if self._ours >= 0:
            with contextlib.suppress(OSError):
                os.close(self._ours)
            self._ours = -1


class PipeSession:
    """``skiff.api.ExecSession`` over pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def write(self, data: bytes | None) -> None:
        """To the command's stdin; None ends it."""
        assert self._process.stdin
        await _write(self._process.stdin, data)

    async def output(self) -> AsyncIterator[Output]:
        """Both outputs as they come."""
        queue: asyncio.Queue[Output] = asyncio.Queue(64)

        async def pump(number: int, reader: asyncio.StreamReader) -> None:
            while data := await reader.read(_READ):
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
        kill(self._process)


class TerminalSession:
    """``skiff.api.ExecSession`` over a terminal."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: Terminal) -> None:
        self._process, self._terminal = process, terminal

    async def write(self, data: bytes | None) -> None:
        """Keys; None is Ctrl-D."""
        await self._terminal.write(b"\x04" if data is None else data)

    async def output(self) -> AsyncIterator[Output]:
        """All output is one stream."""
        while data := await self._terminal.read():
            yield 1, data

    async def resize(self, columns: int, rows: int) -> None:
        """The client's window changed."""
        self._terminal.resize(columns, rows)

    async def wait(self) -> int:
        """The exit code."""
        code = await self._process.wait()
        return 128 - code if code < 0 else code

    async def kill(self) -> None:
        """The client left: the terminal hangs up."""
        self._terminal.close()
        kill(self._process)


async def start(
    argv: list[str], env: dict[str, str], *, terminal: Terminal | None
) -> PipeSession | TerminalSession:
    """Run a command, which must make the terminal its own by itself (``setsid --ctty``)."""
    if terminal is None:
        pipe = asyncio.subprocess.PIPE
        return PipeSession(
            await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env)
        )
    theirs = terminal.theirs
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=theirs, stdout=theirs, stderr=theirs, env={"TERM": "xterm", **env}
        )  # fmt: skip
    except OSError:
        terminal.close()
        raise
    finally:
        os.close(theirs)
    return TerminalSession(process, terminal)


async def beginning(output: asyncio.StreamReader | None) -> bytes:
    """What a command says first, read to its end: nobody wants all that a probe can say."""
    kept = b""
    while output is not None and (part := await output.read(_READ)):
        kept += part[: _LARGEST_SAYING - len(kept)]
    return kept


@dataclass(eq=False)
class Program:
    """The program of a container: where its input goes, and who hears its output."""

    stdin: asyncio.StreamWriter | None = None
    terminal: Terminal | None = None
    once: bool = False  # its input ends with the first client's
    listeners: set[asyncio.Queue[Output | None]] = field(default_factory=set)

    async def run(self, guardian: asyncio.subprocess.Process, log: LogFile) -> int:
        """Hear it until it ends; the exit code."""
        outputs = {"stdout": self.terminal or guardian.stdout, "stderr": guardian.stderr}
        pumps = [
            log.pump(name, output, functools.partial(self._say, number))
            for number, (name, output) in enumerate(outputs.items(), 1)
            if output
        ]
        try:
            await asyncio.gather(*pumps)
            code = await guardian.wait()
        finally:
            log.close()
            self._end()
        return 128 - code if code < 0 else code

    def _say(self, number: int, data: bytes) -> None:
        for it in self.listeners:
            if it.qsize() < _WAITING:
                it.put_nowait((number, data))

    def _end(self) -> None:
        for it in self.listeners:
            it.put_nowait(None)
        if self.terminal:
            self.terminal.close()


class AttachedSession:
    """``skiff.api.ExecSession`` of the program that runs already."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._heard: asyncio.Queue[Output | None] = asyncio.Queue()
        program.listeners.add(self._heard)

    async def write(self, data: bytes | None) -> None:
        """To the program's stdin, when it has one."""
        if terminal := self._program.terminal:
            await terminal.write(b"\x04" if data is None else data)
        elif self._program.stdin and (data is not None or self._program.once):
            await _write(self._program.stdin, data)

    async def output(self) -> AsyncIterator[Output]:
        """What it says from now on."""
        while (it := await self._heard.get()) is not None:
            yield it

    async def resize(self, columns: int, rows: int) -> None:
        """The client's window changed."""
        if self._program.terminal:
            self._program.terminal.resize(columns, rows)

    async def wait(self) -> int:
        """How the program ended stands in the pod's status, not here."""
        return 0

    async def kill(self) -> None:
        """The client left; the program goes on."""
        self._program.listeners.discard(self._heard)


async def _write(stdin: asyncio.StreamWriter, data: bytes | None) -> None:
    with contextlib.suppress(ConnectionError, RuntimeError):
        if data is None:
            stdin.close()
        else:
            stdin.write(data)
            await stdin.drain()
