"""What is one run of a container? A guardian with its program: begun, found again, entered, heard and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from skiff.api import Object
from skiff.net.kernel import kill
from skiff.node import container as processes
from skiff.node import records
from skiff.node.guardian import Guardian, Streams
from skiff.node.limits import OfPod
from skiff.node.log_files import LogFile, log_path
from skiff.node.records import Run
from skiff.node.root import Among, Plan, guarded, order_file
from skiff.node.sessions import AttachedSession, Program, Terminal, beginning
from skiff.node.statuses import stamp
from skiff.processes import born

_LOOK_S = 0.02
#: What nobody saw the end of, as container runtimes have it.
UNKNOWN = 255


class Place(Protocol):
    """Where it runs: its pod's folder, the node's, and its pod's control groups."""

    folder: Path
    home: Path
    limits: OfPod


class Process:
    """One run."""

    def __init__(self, place: Place, spec: Object, noted: Run) -> None:
        self.place, self.folder, self.spec, self.noted = place, place.folder, spec, noted
        folder = place.folder
        self.end = records.end_file(folder, spec["name"], noted.id)
        self._guardian: Guardian | None = None
        self._program = Program(once=bool(spec.get("stdinOnce")))
        self._hearing: asyncio.Future[int] | None = None
        self.unseen = False  # it ended while no daemon ran, and nothing tells how

    # --- beginning -------------------------------------------------------------------------------

    @classmethod
    def new(cls, place: Place, spec: Object, plan: Plan, number: int, last: Object, failures: int) -> Process:
        """One that is about to begin."""
        identity = uuid.uuid4().hex + uuid.uuid4().hex
        tty, stdin = bool(spec.get("tty")), bool(spec.get("stdin"))
        run = Run(0, "", identity, number, stamp(), tty, stdin, plan.security, last, failures)
        run.shares = plan.among is not None
        return cls(place, spec, run)

    @classmethod
    def of(cls, place: Place, spec: Object) -> Process | None:
        """The last one that an earlier daemon began."""
        noted = records.run(place.folder, spec["name"])
        if noted is None:
            return None
        made = cls(place, spec, noted)
        made._guardian = made._program.guardian = records.resumed(place.folder, spec["name"], noted)
        made.unseen = made._guardian.ended and made._guardian.code is None
        return None if made.unseen and not noted.begun else made  # nothing ever came of it

    async def begin(self, plan: Plan) -> None:
        """Returns when the program has begun, or never will. OSError when the machine refuses."""
        records.forget_runs(self.folder, self.spec["name"], but=self.noted.id)
        terminal = Terminal() if self.noted.tty else None
        try:
            await processes.start(plan, self.end, Streams(self.noted.stdin, terminal), self._born)
        except OSError:
            if terminal:
                terminal.close()
            raise
        self._begun()

    def _born(self, guardian: Guardian) -> None:
        self._guardian = self._program.guardian = guardian
        self.noted.pid, self.noted.since = guardian.pid, guardian.since
        records.note_run(self.folder, self.spec["name"], self.noted)
        self._listen()  # from before it begins, so that lines of both outputs come in their order

    async def go_on(self, scratch: Path) -> None:
        """As ``begin``, for one that was found: an earlier daemon may not have seen it begin."""
        guardian, setup = self._of(), str(order_file(scratch)).encode()
        if not self.noted.begun:
            while not guardian.begun.is_set() and _building(guardian.program(), setup):
                await asyncio.sleep(_LOOK_S)
            guardian.program()
            self._begun()
        guardian.begun.set()

    def _begun(self) -> None:
        self.note(begun=True, program=self._of().first)

    def note(self, **changes: Any) -> None:
        """For the next daemon."""
        for key, value in changes.items():
            setattr(self.noted, key, value)
        with contextlib.suppress(FileNotFoundError):  # the pod is gone
            records.note_run(self.folder, self.spec["name"], self.noted)

    # --- life ------------------------------------------------------------------------------------

    async def hear(self) -> int:
        """Write down what it says until it ends; the exit code."""
        hearing = self._hearing or self._listen()
        try:
            code = await hearing
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
        return UNKNOWN if self.unseen else code

    def _listen(self) -> asyncio.Future[int]:
        log = LogFile(log_path(self.folder, self.spec["name"], self.noted.number))
        self._hearing = asyncio.ensure_future(self._program.run(self._of(), log))
        return self._hearing

    def lasted(self) -> float:
        """Seconds since it began."""
        begun = datetime.strptime(self.noted.started_at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        return time.time() - begun.timestamp()

    def finished_at(self) -> str:
        """When it ended; now, when nothing tells."""
        with contextlib.suppress(OSError):
            return datetime.fromtimestamp(self.end.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return stamp()

    @property
    def running(self) -> bool:
        """Whether the program runs."""
        guardian = self._guardian
        return guardian is not None and guardian.begun.is_set() and not guardian.ended

    @property
    def ended(self) -> bool:
        """Whether there is nothing to end any more, or not yet."""
        return self._guardian is None or self._guardian.ended

    def _of(self) -> Guardian:
        assert self._guardian
        return self._guardian

    # --- from outside ----------------------------------------------------------------------------

    def entrance(self) -> int:
        """The pid to enter by; ProcessLookupError when the container is not running."""
        pid = self._of().program() if self.running else None
        if pid is None:
            raise ProcessLookupError(f"container {self.spec['name']} is not running")
        return pid

    def among(self) -> Among:
        """For a container that shall be one of the processes it sees."""
        pid = self.entrance()
        return Among(pid, born(pid))

    def terminal(self) -> Terminal:
        """A new one, among those which the container's programs see."""
        return Terminal(Path(f"/proc/{self.entrance()}/root"))

    def command(self, argv: list[str]) -> list[str]:
        """The host's command line which runs a program in the container."""
        directory = self.spec.get("workingDir") or "/"
        groups = self.place.limits.groups(self.spec["name"])
        return processes.exec_command(
            self.entrance(), argv, self.noted.security, directory, self.place.home, groups
        )

    async def run(self, argv: list[str], seconds: float) -> tuple[int, str]:
        """(exit code, output) of a program in the container."""
        process = await asyncio.create_subprocess_exec(
            *self.command(argv), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, env=self.environment(),
        )  # fmt: skip
        try:
            async with asyncio.timeout(seconds):
                said = await beginning(process.stdout)
                await process.wait()
        except (TimeoutError, asyncio.CancelledError):
            kill(process)
            await process.wait()
            raise
        return process.returncode or 0, said.decode(errors="replace")

    def environment(self) -> dict[str, str]:
        """What the program itself was given, for ``command``."""
        raw = Path(f"/proc/{self.entrance()}/environ").read_bytes()
        pairs = (it.partition(b"=") for it in raw.split(b"\0") if it)
        return guarded(
            {os.fsdecode(key): os.fsdecode(value) for key, _, value in pairs}
        )  # a program may write any bytes there

    def attach(self) -> AttachedSession:
        """Its own input, and what it says from now on."""
        return AttachedSession(self._program)

    # --- the end ---------------------------------------------------------------------------------

    def signal(self, number: int) -> bool:
        """Whether there was a process to be signalled."""
        pid = None if self.ended else self._of().program()
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return True

    async def wait(self, seconds: float) -> bool:
        """Whether it ended within so long."""
        try:
            await asyncio.wait_for(self._of().wait(), seconds)
        except TimeoutError:
            return False
        return True

    def kill(self) -> None:
        """End it at once."""
        if self._guardian:
            self._guardian.kill()

    async def release(self) -> None:
        """Its end is known: nothing of it is needed."""
        if self._guardian:
            await self._guardian.release()

    def forget(self) -> None:
        """Leave it alone: the next daemon finds it."""
        if self._guardian:
            self._guardian.forget()


def _building(pid: int | None, setup: bytes) -> bool:
    """Whether a container's first process still makes it."""
    try:
        return pid is None or setup in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
