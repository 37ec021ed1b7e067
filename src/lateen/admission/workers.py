"""Turns of reviews: whose is next, which process works on it, and what happens to one that takes too long."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import random
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Never

import msgspec
import structlog
from prometheus_client import Counter as Count

from lateen.admission.review import Answer, Question
from lateen.admission.worker import HEAD, Reply

_log = structlog.get_logger("lateen.admission")

#: Below the 10 s after which the API server gives up, with room for a turn before.
LIMIT_S = 4.0
#: Workers at once. No address has more than all but one of them.
MOST_WORKERS = 2
_START_S, _IDLE_S = 30.0, 60.0
_BUFFER = 1024 * 1024  # of answers: a patch is some kilobytes, but may be as large as its pod
#: What an address has cost is half forgotten after so long.
_HALF_LIFE_S = 30.0
_REMEMBERED = 1024

ENDED = Count("lateen_reviews_ended", "Reviews that took too long, and whose worker was ended.")


class SlowError(Exception):
    """The review took too long, or its worker died of it; the message says which."""


@dataclass(eq=False)
class _Turn:
    address: str
    question: Question
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Workers:
    """Ask after ``start``; ``stop`` ends the processes."""

    def __init__(self, *, most: int = MOST_WORKERS, limit_s: float = LIMIT_S) -> None:
        self._most, self._limit_s = most, limit_s
        self._waiting: dict[str, deque[_Turn]] = {}
        self._running: Counter[str] = Counter()
        self._cost: dict[str, tuple[float, float]] = {}  # seconds of work, and when that was so
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[Never]] = []

    def start(self) -> None:
        """The first worker starts now, so that the first review need not wait for it."""
        self._tasks = [asyncio.create_task(self._live(keep=not it)) for it in range(self._most)]

    async def stop(self) -> None:
        """Reviews under way get no answer."""
        for it in self._tasks:
            it.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ask(self, address: str, question: Question) -> Answer:
        """The answer, in this address's turn; SlowError. Cancel it to give the turn up."""
        turn = _Turn(address, question)
        self._waiting.setdefault(address, deque()).append(turn)
        self._changed.set()
        try:
            return await turn.answer
        finally:
            with contextlib.suppress(KeyError, ValueError):  # it had its turn
                self._waiting[address].remove(turn)
                if not self._waiting[address]:
                    del self._waiting[address]

    async def _live(self, *, keep: bool) -> Never:
        worker: _Worker | None = None
        try:
            while True:
                if keep and worker is None:
                    worker = await self._started()
                try:
                    async with asyncio.timeout(None if keep else _IDLE_S):
                        turn = await self._next()
                except TimeoutError:
                    if worker:
                        await worker.end()
                    worker = None
                    continue
                try:
                    worker = worker or await self._started()
                    if not await self._work(worker, turn):
                        await worker.end()
                        worker = None
                finally:
                    self._left(turn.address)
        finally:
            if worker:
                await worker.end()

    async def _started(self) -> _Worker:
        while True:
            try:
                async with asyncio.timeout(_START_S):
                    return await _Worker.start(self._limit_s)
            except (OSError, EOFError, TimeoutError) as wrong:
                said = str(wrong) or type(wrong).__name__
                _log.error("no process for reviews could be started: trying again", reason=said)
            await asyncio.sleep(random.uniform(0.5, 1.5))

    async def _work(self, worker: _Worker, turn: _Turn) -> bool:
        """Whether the worker can go on."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(
                self._limit_s
            ):  # not wait_for, which may forget that we were cancelled
                reply = await worker.ask(turn.question)
        except (TimeoutError, OSError, EOFError, msgspec.MsgspecError) as wrong:
            late = isinstance(wrong, TimeoutError)
            why = f"took longer than {self._limit_s:g} s" if late else "ended the process that looked at it"
            ENDED.inc()
            _log.warning("a review was given up", address=turn.address, page=turn.question.page, reason=why)
            _tell(turn, SlowError(f"the review {why}"))
            return False
        finally:
            self._paid(turn.address, time.monotonic() - began)
        if reply.bug:
            _log.error("a webhook failed: this is a bug", page=turn.question.page, traceback=reply.bug)
        _tell(turn, reply.answer)
        return not reply.last

    async def _next(self) -> _Turn:
        while (found := self._pick()) is None:
            self._changed.clear()
            await self._changed.wait()
        return found

    def _pick(self) -> _Turn | None:
        """Of those who may have one more worker, the address that has cost least; so nobody pays for another's reviews."""
        most = max(self._most - 1, 1)
        able = [it for it in self._waiting if self._running[it] < most]
        if not able:
            return None
        now = time.monotonic()
        address = min(able, key=lambda it: self._spent(it, now))
        turn = self._waiting[address].popleft()
        if not self._waiting[address]:
            del self._waiting[address]
        self._running[address] += 1
        return turn

    def _spent(self, address: str, now: float) -> float:
        seconds, then = self._cost.get(address, (0.0, now))
        return float(seconds * 0.5 ** ((now - then) / _HALF_LIFE_S))

    def _paid(self, address: str, seconds: float) -> None:
        now = time.monotonic()
        self._cost[address] = (self._spent(address, now) + seconds, now)
        if len(self._cost) > _REMEMBERED:
            del self._cost[min(self._cost, key=lambda it: self._spent(it, now))]

    def _left(self, address: str) -> None:
        self._running[address] -= 1
        if not self._running[address]:
            del self._running[address]
        self._changed.set()


def _tell(turn: _Turn, said: Answer | SlowError) -> None:
    if turn.answer.done():
        return  # who asked has gone
    if isinstance(said, Answer):
        turn.answer.set_result(said)
    else:
        turn.answer.set_exception(said)


class _Worker:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, limit_s: float) -> _Worker:
        """As soon as it has loaded what it needs; OSError or EOFError when it does not start."""
        made = cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "lateen.admission.worker",
                str(limit_s),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_BUFFER,
            )
        )
        try:
            await made._frame()
        except BaseException:
            await made.end()
            raise
        return made

    async def ask(self, question: Question) -> Reply:
        """EOFError or OSError when the process dies of it."""
        stdin = self._process.stdin
        assert stdin, "it is a pipe"
        raw = pickle.dumps(question)
        stdin.write(HEAD.pack(len(raw)) + raw)
        await stdin.drain()
        return msgspec.msgpack.decode(await self._frame(), type=Reply)

    async def _frame(self) -> bytes:
        stdout = self._process.stdout
        assert stdout, "it is a pipe"
        head = await stdout.readexactly(HEAD.size)
        return await stdout.readexactly(HEAD.unpack(head)[0])

    async def end(self) -> None:
        """At once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
