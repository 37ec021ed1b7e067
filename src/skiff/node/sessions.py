"""How does somebody outside use a program inside a container? A new one over pipes or a terminal, or the one that runs."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import functools
import os
import struct
import termios
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from skiff.net.kernel import kill
from skiff.node import syscalls
from skiff.node.channels import Sink, Source, writable
from skiff.node.log_files import LogFile

if TYPE_CHECKING:
    from skiff.node.guardian import Guardian

_READ = 32 * 1024
_LARGEST_SAYING = 10 * 1024
_MULTIPLEXER = os.makedev(5, 2)
_UNLOCK, _OTHER_END = 0x40045431, 0x5441  # TIOCSPTLCK, TIOCGPTPEER of <asm-generic/ioctls.h>
#: Pieces of output that wait for somebody attached; who reads slower misses some.
_WAITING = 256
Output = tuple[int, bytes]  # (1, stdout) or (2, stderr)


class Terminal(Source):
    """A pseudo terminal: our end of it."""

    def __init__(self, root: Path = Path("/")) -> None:
        """``root`` is the container's: it finds a terminal by name only when it is one of its own."""
        super().__init__(_multiplexer(root))
        try:
            fcntl.ioctl(self.ours, _UNLOCK, struct.pack("i", 0))
            #: The program's end, to be closed once the program has it.
            self.theirs = fcntl.ioctl(self.ours, _OTHER_END, os.O_RDWR | os.O_NOCTTY)
        except OSError:
            self.close()
            raise

    @classmethod
    def of(cls, ours: int) -> Terminal:
        """Of one whose program runs already."""
        made = cls.__new__(cls)
        Source.__init__(made, ours)
        made.theirs = -1
        return made

    @property
    def ours(self) -> int:
        """Our descriptor; negative when it is closed."""
        return self._descriptor

    async def write(self, content: bytes) -> None:
        """Keys."""
        while content and self.ours >= 0:
            try:
                content = content[os.write(self.ours, content) :]
            except BlockingIOError:
                await writable(self.ours)
            except OSError:
                return

    def resize(self, columns: int, rows: int) -> None:
        """The client's window changed."""
        with contextlib.suppress(OSError, struct.error):
            fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _multiplexer(root: Path) -> int:
    """``/dev/pts/ptmx`` below a root, opened once it is known to be that: a container may have put there what it likes."""
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    place = -1
    try:
        place = syscalls.open_at(folder, "dev/pts/ptmx", os.O_PATH, syscalls.NO_SYMLINKS)
        if os.fstat(place).st_rdev != _MULTIPLEXER:
            raise OSError(
                errno.ENOTTY, "there are no terminals in the container: something else lies at /dev/pts"
            )
        return os.open(f"/proc/self/fd/{place}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(folder)
        if place >= 0:
            os.close(place)


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

    guardian: Guardian | None = None
    once: bool = False  # its input ends with the first client's
    listeners: set[asyncio.Queue[Output | None]] = field(default_factory=set)

    @property
    def terminal(self) -> Terminal | None:
        return self.guardian.terminal if self.guardian else None

    @property
    def stdin(self) -> Sink | None:
        return self.guardian.stdin if self.guardian else None

    async def run(self, guardian: Guardian, log: LogFile) -> int:
        """Hear it until it ends, and what it said last; the exit code."""
        loop = asyncio.get_running_loop()
        pumps = [
            loop.create_task(log.pump(name, output, functools.partial(self._say, number)))
            for number, (name, output) in enumerate(guardian.outputs.items(), 1)
        ]
        try:
            code = await guardian.wait()
            for it in guardian.outputs.values():
                it.finish()
            await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            log.close()
            self._end()
        return code

    def _say(self, number: int, data: bytes) -> None:
        for it in self.listeners:
            if it.qsize() < _WAITING:
                it.put_nowait((number, data))

    def _end(self) -> None:
        for it in self.listeners:
            it.put_nowait(None)


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
            await self._program.stdin.write(data)

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
