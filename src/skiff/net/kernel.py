"""How does the daemon speak to the kernel's network? Short commands with a timeout, and sockets made elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_CLONE_NEWNET = 0x40000000
_PIDFD_GETFD = 438  # the same on every kind of processor
#: Where network namespaces have their names.
NAMES = Path("/run/netns")
T = TypeVar("T")
_PATIENCE = 20.0


class KernelRefusedError(Exception):
    """A command such as ``ip`` or ``nft`` said no; its words are the message."""


async def run(*command: str, feed: str = "", check: bool = True) -> str:
    """Output of a short command; its complaint as KernelRefusedError."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(feed.encode()), _PATIENCE)
    except TimeoutError:
        kill(process)
        await process.wait()
        raise KernelRefusedError(f"{command[0]} took longer than {_PATIENCE:.0f} s") from None
    if check and process.returncode:
        raise KernelRefusedError(f"{' '.join(command)}: {err.decode(errors='replace').strip()}")
    return out.decode(errors="replace")


def kill(process: asyncio.subprocess.Process) -> None:
    """SIGKILL. Not ``process.kill()``: that may take the exit code away from the loop, which then makes one up."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


async def set_inside(namespace: str, name: str, value: str) -> None:
    """A sysctl of the named network namespace; KernelRefusedError when there is none."""
    await run("ip", "netns", "exec", namespace, "sysctl", "-qw", f"{name}={value}")


def write_inside(namespace: str, file: str, text: str) -> None:
    """Set something of the kernel's in the named network namespace."""
    inside(namespace, lambda: Path(file).write_text(text))


def inside(namespace: str, ask: Callable[[], T]) -> T:
    """What a quick question is answered with in the named network namespace."""
    answers: list[T] = []
    wrong: list[OSError] = []

    def enter() -> None:
        # setns changes this thread only, and the thread ends here.
        try:
            descriptor = os.open(NAMES / namespace, os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter network namespace {namespace}")
            finally:
                os.close(descriptor)
            answers.append(ask())
        except OSError as error:
            wrong.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if wrong:
        raise wrong[0]
    return answers[0]


def socket_inside(
    namespace: str, family: int, kind: int, bind: tuple[str, int] | None = None
) -> socket.socket:
    """A socket which belongs to the named network namespace, whoever uses it afterwards."""

    def make() -> socket.socket:
        sock = socket.socket(family, kind)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setblocking(False)
            if bind is not None:
                sock.bind(bind)
        except OSError:
            sock.close()
            raise
        return sock

    return inside(namespace, make)


def taken(pid: int, number: int) -> int:
    """A descriptor of another process as one of ours: what it means cannot be opened anew, such as a terminal's master."""
    process = os.pidfd_open(pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        found = int(libc.syscall(_PIDFD_GETFD, process, number, 0))
    finally:
        os.close(process)
    if found < 0:
        raise OSError(ctypes.get_errno(), f"cannot take descriptor {number} of process {pid}")
    return found
