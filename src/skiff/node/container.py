"""How does a container become a process? Namespaces, then the setup of its root, which turns into the program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from skiff.net.kernel import NAMES
from skiff.node.guardian import NEWS, Guardian, Streams
from skiff.node.root import Plan, entering, starting, surroundings


async def start(plan: Plan, end: Path, streams: Streams, note: Callable[[Guardian], None]) -> Guardian:
    """The container's guardian, which writes to ``end`` how the program ended. It begins once ``note`` has returned.

    Returns when the program has begun, or never will: who enters the container before that enters a building site.
    """
    plan.scratch.mkdir(parents=True, exist_ok=True)
    if streams.terminal:
        plan = plan._replace(argv=["/usr/bin/setsid", "--ctty", *plan.argv])
    command = [
        "/usr/bin/nsenter", f"--net={NAMES / plan.namespace}", "/usr/bin/unshare", "--mount", "--propagation=private",
        "--uts", "--ipc", "--pid", "--fork", "--kill-child", *starting(plan, NEWS),
    ]  # fmt: skip
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
