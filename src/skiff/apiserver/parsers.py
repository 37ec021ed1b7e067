"""Where are bodies read? Small ones at once; large ones in a process, so that nobody waits for them but their sender."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter

import msgspec
from aiohttp import web

from skiff.apiserver.parse import Form, Parsed, parse
from skiff.apiserver.parse_process import HEAD, Reply, Task
from skiff.errors import ApiError
from skiff.log import Log

_log = Log()

#: Bytes that are read on the loop, in some ten milliseconds. Without a search for fields that are there twice, JSON is
#: read by msgspec, a megabyte in as much.
AT_ONCE = {Form.JSON: 64 * 1024, Form.YAML: 16 * 1024, Form.PROTOBUF: 16 * 1024}
#: Processes at once. Nobody has more than one of them.
MOST_PROCESSES = 2
#: Bodies of one user that may wait for their turn.
MOST_WAITING = 8
LIMIT_S = 10.0
_START_S, _IDLE_S = 30.0, 30.0
_BUFFER = 1024 * 1024


class Parsers:
    """Processes are started when needed, and end when they were not for a while; ``stop`` ends them all."""

    def __init__(self) -> None:
        self._idle: dict[_Process, asyncio.TimerHandle] = {}
        self._turns = asyncio.Semaphore(MOST_PROCESSES)
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()
        self._ending: set[asyncio.Task[None]] = set()

    async def parse(self, who: str, form: Form, raw: bytes, *, twice: bool) -> Parsed:
        """As ``skiff.apiserver.parse.parse``; 429 when ``who`` has too many bodies waiting."""
        if len(raw) <= AT_ONCE[form] or (form is Form.JSON and not twice):
            return parse(form, raw, twice=twice)
        if self._waiting[who] >= MOST_WAITING:
            said = "too many large bodies of yours wait to be read: try again later"
            raise ApiError(429, "TooManyRequests", said, {"retryAfterSeconds": 1})
        self._waiting[who] += 1
        try:
            async with self._locks.setdefault(who, asyncio.Lock()), self._turns:
                return _understood(await self._asked(Task(form.value, twice, raw)))
        finally:
            self._waiting[who] -= 1
            if not self._waiting[who]:
                del self._waiting[who]
                self._locks.pop(who, None)

    async def _asked(self, task: Task) -> Reply:
        process, timer = self._idle.popitem() if self._idle else (None, None)
        if timer:
            timer.cancel()
        try:
            async with asyncio.timeout(_START_S):
                process = process if process and process.lives else await _Process.start()
            async with asyncio.timeout(LIMIT_S):
                reply = await process.ask(task)
        except BaseException as wrong:  # whoever asked may be gone: the process works on, for nobody
            if process:
                await process.end()
            if not isinstance(wrong, TimeoutError | OSError | EOFError | msgspec.MsgspecError):
                raise
            _log.warning("a body was given up", bytes=len(task.raw), form=task.form, reason=repr(wrong))
            said = f"the object provided could not be read within {LIMIT_S:g} s: send a smaller one"
            raise ApiError(400, "BadRequest", said) from wrong
        self._idle[process] = asyncio.get_running_loop().call_later(_IDLE_S, self._end, process)
        return reply

    def _end(self, process: _Process) -> None:
        if self._idle.pop(process, None):
            ending = asyncio.ensure_future(process.end())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def stop(self) -> None:
        """Bodies under way get no answer."""
        for process, timer in self._idle.items():
            timer.cancel()
            await process.end()
        self._idle.clear()
        await asyncio.gather(*self._ending)


PARSERS = web.AppKey("parsers", Parsers)


def _understood(reply: Reply) -> Parsed:
    if reply.code:
        raise ApiError(reply.code, reply.reason, reply.message)
    return Parsed(msgspec.json.decode(reply.value), reply.twice, reply.unknown)


class _Process:
    """One."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> _Process:
        """It reads what it is sent as soon as it can."""
        words = (sys.executable, "-m", "skiff.apiserver.parse_process", str(LIMIT_S))
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, limit=_BUFFER))

    @property
    def lives(self) -> bool:
        """Whether it has not been ended by anybody."""
        return self._process.returncode is None

    async def ask(self, task: Task) -> Reply:
        """EOFError or OSError when the process dies of it."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin, "it is a pipe"
        assert stdout, "it is a pipe"
        raw = msgspec.msgpack.encode(task)
        stdin.write(HEAD.pack(len(raw)) + raw)
        await stdin.drain()
        head = await stdout.readexactly(HEAD.size)
        return msgspec.msgpack.decode(await stdout.readexactly(HEAD.unpack(head)[0]), type=Reply)

    async def end(self) -> None:
        """At once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
