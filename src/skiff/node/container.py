"""How does a container become a process? Namespaces, then the setup of its root, which turns into the program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from skiff.net.kernel import NAMES
from skiff.node.guardian import NEWS, Guardian, Streams
from skiff.node.root import Plan, entering, starting, surroundings

_APART = ("/usr/bin/unshare", "--mount", "--propagation=private", "--uts", "--ipc", "--pid")
#: Begets the first process of the new namespaces, and ends as it does. unshare(1) could, but that of util-linux 2.38 tells
#: of a program that was killed as of one that failed, and writes so into its output. So would a shell of a command that it
#: does not run in the background.
_WAITING = (
    "/bin/sh",
    "-c",
    'exec 3<&0 4>&2 2>/dev/null; "$@" <&3 2>&4 3<&- 4>&- & exec 3<&- 4>&-; wait $!',
    "waiting",
)


async def start(plan: Plan, end: Path, streams: Streams, note: Callable[[Guardian], None]) -> Guardian:
    """The container's guardian, which writes to ``end`` how the program ended. It begins once ``note`` has returned.

    Returns when the program has begun, or never will: who enters the container before that enters a building site.
    """
    plan.scratch.mkdir(parents=True, exist_ok=True)
    if streams.terminal:
        plan = plan._replace(argv=["/usr/bin/setsid", "--ctty", *plan.argv])
    command = ["/usr/bin/nsenter", f"--net={NAMES / plan.namespace}"]
    if plan.among is None:
        command += [*_APART, *_WAITING]
    command += starting(plan, NEWS)
    guardian = Guardian.spawn(command, surroundings(), end, plan.home, streams)
    try:
        note(guardian)
        guardian.go()
    except OSError:
        await guardian.release()
        raise
    await guardian.begun.wait()
    return guardian


def exec_command(
    pid: int, command: list[str], security: dict[str, Any], directory: str, home: Path, groups: tuple[Path, ...]
) -> list[str]:  # fmt: skip
    """The command line which runs another program in the container of one that runs; ``root.guarded`` makes its environment.

    It ends with us, whatever it waits for.
    """
    return [
        "/usr/bin/setpriv",
        "--pdeathsig=KILL",
        *entering(home, pid, command, security, directory, groups),
    ]
