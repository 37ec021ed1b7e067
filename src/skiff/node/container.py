"""How does a container become a process? Namespaces, then the setup of its root, which turns into the program."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from skiff.node.root import Plan, entering, starting, surroundings
from skiff.node.sessions import Terminal


async def start(
    plan: Plan, *, stdin: bool = False, terminal: Terminal | None = None
) -> asyncio.subprocess.Process:
    """The container's guardian: it ends when the program ends, with its code, and takes it along when killed.

    Returns when the program has begun, or never will: who enters the container before that enters a building site.
    """
    plan.scratch.mkdir(parents=True, exist_ok=True)
    output: int = asyncio.subprocess.PIPE
    given: int = asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL
    errors = output
    if terminal is not None:
        plan = plan._replace(argv=["/usr/bin/setsid", "--ctty", *plan.argv])
        given = output = errors = terminal.theirs
    try:
        return await _guardian(plan, given, output, errors)
    finally:
        if terminal is not None:
            os.close(terminal.theirs)


async def _guardian(plan: Plan, given: int, output: int, errors: int) -> asyncio.subprocess.Process:
    fifo = _fifo(plan)
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo, 0o600)
    listening = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        guardian = await asyncio.create_subprocess_exec(
            "/usr/bin/setpriv", "--pdeathsig=KILL", "/usr/bin/nsenter", f"--net=/run/netns/{plan.namespace}",
            "/usr/bin/unshare", "--mount", "--propagation=private", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
            *starting(plan, fifo),
            stdin=given, stdout=output, stderr=errors,
            env=surroundings(), start_new_session=True,
        )  # fmt: skip
        await _begun(listening, guardian)
    finally:
        os.close(listening)
        fifo.unlink(missing_ok=True)
    return guardian


def _fifo(plan: Plan) -> Path:
    """How the setup tells that it is done."""
    return plan.scratch.with_name(f"{plan.scratch.name}.begun")


async def _begun(listening: int, guardian: asyncio.subprocess.Process) -> None:
    """Until the setup says so, or ends, or ended before it could speak."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(listening, told.set)
    waits = [loop.create_task(told.wait()), loop.create_task(guardian.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(listening)
        for it in waits:
            it.cancel()


def first_process(guardian: int) -> int | None:
    """The program's process id as the host sees it."""
    try:
        children = Path(f"/proc/{guardian}/task/{guardian}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def exec_command(
    guardian: int, command: list[str], security: dict[str, Any], directory: str, home: Path, groups: tuple[Path, ...]
) -> list[str]:  # fmt: skip
    """The command line which runs another program in a running container; ``root.guarded`` makes its environment."""
    pid = first_process(guardian)
    if pid is None:
        raise ProcessLookupError("the container is not running")
    return entering(home, pid, command, security, directory, groups)
