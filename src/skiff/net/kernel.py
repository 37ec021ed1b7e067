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
_PATIENCE = 20.0
_Made = TypeVar("_Made")


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


def write_inside(namespace: str, file: str, text: str) -> None:
    """Set something of the kernel's in the named network namespace."""
    _inside(namespace, lambda: Path(file).write_text(text))


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

    return _inside(namespace, make)


def _inside(namespace: str, work: Callable[[], _Made]) -> _Made:
    made: list[_Made] = []
    wrong: list[OSError] = []

    def enter() -> None:
        # setns changes this thread only, and the thread ends here.
        try:
            descriptor = os.open(Path("/run/netns") / namespace, os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter network namespace {namespace}")
            finally:
                os.close(descriptor)
            made.append(work())
        except OSError as error:
            wrong.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if wrong:
        raise wrong[0]
    return made[0]
