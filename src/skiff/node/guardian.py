"""How does a program go on when the daemon that started it ends? With a guardian, which needs nobody.

    daemon -> guardian (a shell, in a session of its own) -> one that waits -> the program

The guardian holds both ends of the program's pipes, so that the program waits when nobody reads, rather than being ended
for it; the daemon opens its ends through /proc, as does the next one. When the program has ended, the guardian writes down
with which code, and sleeps until a daemon has read what is left in the pipes. Whoever kills it takes the program along.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from pathlib import Path
from typing import NamedTuple

from skiff.net.kernel import taken
from skiff.node.channels import Sink, Source
from skiff.node.sessions import Terminal
from skiff.processes import alive, born

#: $1 is the file for the exit code, the rest the program. 3, 4, 5 are its input and outputs, 6 the other end of its terminal
#: or input, 8 is where the daemon says that it has noted us, and 9 wakes it. Background jobs of a shell ignore signals that
#: a terminal sends, hence env.
_SCRIPT = """\
read -r go <&8 || exit 0
exec 8<&-
end=$1; shift; interrupted=
trap 'interrupted=1; exec 6>&-' USR1
/usr/bin/setpriv --pdeathsig=KILL /usr/bin/env --default-signal=INT,QUIT "$@" <&3 >&4 2>&5 3<&- 4>&- 5>&- 6>&- &
program=$!
[ -t 4 ] && exec 4>&- 5>&-
exec 3<&-
while :; do
  wait $program; code=$?
  [ "$interrupted" ] && kill -0 $program 2>/dev/null || break
  interrupted=
done
until echo $code > "$end.new"; do /bin/sleep 1; done  # the disk may be full
/bin/mv "$end.new" "$end"; echo >&9
exec /bin/sleep infinity
"""
SCRIPT = "guardian.sh"
_INPUT, _OUT, _ERRORS, _OTHER, _GO, NEWS = 3, 4, 5, 6, 8, 9
_ROOM = 1024 * 1024  # what a pipe holds while nobody reads
_PIPE_SIZE = 1031  # F_SETPIPE_SZ of <linux/fcntl.h>
_HIGH = 100  # so that no descriptor of ours lies where one of the guardian's shall be
KILLED = 137
_LOOKS = 5000
_CLEARING_S = 2.0


class Streams(NamedTuple):
    """What a program shall have. With a terminal it has nothing else."""

    stdin: bool
    terminal: Terminal | None


def install(home: Path) -> None:
    """Write the guardians' script; those that run keep theirs."""
    fresh = home / f"{SCRIPT}.new"
    fresh.write_text(_SCRIPT)
    fresh.replace(home / SCRIPT)


class Guardian:
    """The guardian of one run of a container, started by this daemon or an earlier one."""

    def __init__(self, pid: int, since: str, end: Path) -> None:
        self.pid, self.since, self._end = pid, since, end
        #: (pid, start time) of the program: it may have forgotten with whom it has to end.
        self.first = (0, "")
        self.begun = asyncio.Event()
        self._over = asyncio.Event()
        self.code: int | None = None
        self.outputs: dict[str, Source | Terminal] = {}
        self.stdin: Sink | None = None
        self.terminal: Terminal | None = None
        self._news = -1
        self._go = -1

    # --- beginning -------------------------------------------------------------------------------

    @classmethod
    def spawn(
        cls, command: list[str], env: dict[str, str], end: Path, home: Path, streams: Streams
    ) -> Guardian:
        """A guardian that waits for ``go``: until then nothing has begun, and without it nothing ever does."""
        given = _Given(streams)
        try:
            pid = os.posix_spawn(
                "/bin/sh", ["/bin/sh", str(home / SCRIPT), str(end), *command], env, setsid=True,
                file_actions=given.actions(), setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )  # fmt: skip
            made = cls(pid, born(pid), end)
            made._go = given.keep(given.go)
            made._listen(given.keep(given.news))
            if streams.terminal:
                made.terminal = streams.terminal
                made.outputs = {"stdout": streams.terminal}
            else:
                made.outputs = {
                    "stdout": Source(given.keep(given.out)),
                    "stderr": Source(given.keep(given.errors)),
                }
            if streams.stdin and not streams.terminal:
                made.stdin = Sink(given.keep(given.other), made._end_input)
        finally:
            given.close()
        return made

    @classmethod
    def found(cls, pid: int, since: str, end: Path, *, tty: bool, stdin: bool) -> Guardian:
        """One that an earlier daemon started, whether it lives or not."""
        made = cls(pid, since, end)
        try:
            if not alive(pid, since):
                raise ProcessLookupError
            made._listen(_opened(pid, NEWS, os.O_RDONLY))
            if tty:
                made.terminal = Terminal.of(taken(pid, _OTHER))
                made.outputs = {"stdout": made.terminal}
            else:
                made.outputs = {
                    name: Source(_opened(pid, number, os.O_RDONLY))
                    for name, number in (("stdout", _OUT), ("stderr", _ERRORS))
                }
            if stdin and not tty:
                with contextlib.suppress(OSError):  # it has ended already
                    made.stdin = Sink(_opened(pid, _OTHER, os.O_WRONLY), made._end_input)
        except OSError:
            made._ended()
        else:
            if end.exists():  # its news was for somebody who is gone
                made._ended()
        return made

    def go(self) -> None:
        """The run is noted: let it begin."""
        with contextlib.suppress(BrokenPipeError):  # somebody killed it meanwhile
            os.write(self._go, b"\n")
        os.close(self._go)
        self._go = -1

    def _listen(self, news: int) -> None:
        os.set_blocking(news, False)
        self._news = news
        asyncio.get_running_loop().add_reader(news, self._heard)

    def _heard(self) -> None:
        try:
            said = os.read(self._news, 64)
        except BlockingIOError:
            return
        if said:
            self.program()
            self.begun.set()
        if not said or self._end.exists():
            self._ended()

    def _ended(self) -> None:
        if self._over.is_set():
            return
        try:
            self.code = int(self._end.read_text())
        except (OSError, ValueError):
            self.code = None  # nobody saw the end
        self._deaf()
        self._over.set()
        self.begun.set()

    def _deaf(self) -> None:
        if self._news >= 0:
            asyncio.get_running_loop().remove_reader(self._news)
            os.close(self._news)
            self._news = -1

    # --- life and end ----------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the program has."""
        return self._over.is_set()

    async def wait(self) -> int:
        """The exit code of the program, by which a shell would know it: 128 and the signal."""
        await self._over.wait()
        return KILLED if self.code is None else self.code

    def kill(self) -> None:
        """End the program at once."""
        kill(self.first if self.program() else (self.pid, self.since))

    def program(self) -> int | None:
        """The program's process id as the host sees it."""
        if alive(self.pid, self.since) and (found := program_of(self.pid)):
            self.first = (found, born(found))
        return self.first[0] if alive(*self.first) else None

    def _end_input(self) -> None:
        if alive(self.pid, self.since):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGUSR1)

    async def release(self) -> None:
        """Nothing of it is needed any more."""
        self.kill()
        if not self.ended:  # who waits for it may have something to clear away
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), _CLEARING_S)
        kill((self.pid, self.since))
        self.forget()
        for _ in range(_LOOKS):  # what is killed is gone in a moment
            try:
                if os.waitpid(self.pid, os.WNOHANG)[0]:  # noqa: ASYNC222  # it does not wait
                    return
            except ChildProcessError:  # an earlier daemon's
                return
            await asyncio.sleep(0.001)

    def forget(self) -> None:
        """Close what is ours and leave it alone."""
        self._deaf()
        for it in (*self.outputs.values(), self.terminal, self.stdin):
            if it:
                it.close()
        if self._go >= 0:
            os.close(self._go)
            self._go = -1


class _Given:
    """The descriptors of a new guardian: pairs of ours and its own."""

    def __init__(self, streams: Streams) -> None:
        self._held: set[int] = set()
        self._theirs: dict[int, int] = {}
        try:
            self._make(streams)
        except BaseException:
            self.close()
            raise

    def _make(self, streams: Streams) -> None:
        null = self._hold(os.open("/dev/null", os.O_RDWR))
        theirs, self.go = map(self._hold, os.pipe())
        self.news, news = self._pipe()
        self._theirs |= {0: null, 1: null, 2: null, _GO: theirs, NEWS: news}
        if terminal := streams.terminal:
            slave = self._hold(terminal.theirs)
            master = self._hold(os.dup(terminal.ours))
            self._theirs |= {_INPUT: slave, _OUT: slave, _ERRORS: slave, _OTHER: master}
            return
        self.out, out = self._pipe()
        self.errors, errors = self._pipe()
        self._theirs |= {_OUT: out, _ERRORS: errors, _INPUT: null, _OTHER: null}
        if streams.stdin:
            self._theirs[_INPUT], self.other = map(self._hold, os.pipe())
            self._theirs[_OTHER] = self.other

    def _hold(self, descriptor: int) -> int:
        """The same, high enough."""
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)
        os.close(descriptor)
        self._held.add(high)
        return high

    def _pipe(self) -> tuple[int, int]:
        """(an end to read from, an end that reads and writes: who has it never writes to nobody)."""
        ours, writing = map(self._hold, os.pipe())
        both = self._hold(os.open(f"/proc/self/fd/{writing}", os.O_RDWR))
        with contextlib.suppress(OSError):  # a machine that allows less
            fcntl.fcntl(both, _PIPE_SIZE, _ROOM)
        return ours, both

    def actions(self) -> list[tuple[int, int, int]]:
        return [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in self._theirs.items()]

    def keep(self, descriptor: int) -> int:
        """It goes on being ours."""
        self._held.discard(descriptor)
        return descriptor

    def close(self) -> None:
        for it in self._held:
            os.close(it)
        self._held.clear()


def _opened(pid: int, number: int, how: int) -> int:
    return os.open(f"/proc/{pid}/fd/{number}", how | os.O_NONBLOCK)


def program_of(guardian: int) -> int | None:
    """The program's process id as the host sees it: the child of the guardian's child."""
    below: int | None = guardian
    for _ in range(2):
        try:
            children = Path(f"/proc/{below}/task/{below}/children").read_text().split()
        except OSError:
            return None
        below = int(children[0]) if children else None
    return below


def kill(*processes: tuple[int, str]) -> None:
    """SIGKILL for those that still are what they were."""
    for pid, since in processes:
        if pid and alive(pid, since):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
