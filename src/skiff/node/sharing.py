"""How does a container come among processes that others see? Made outside of their sight, it enters as harmless as it will be.

    the guardian -> this process, which waits and clears up -> the program
                         \\-> the builder, which makes the container, begets the program beside itself, and is gone

With a process namespace of its own a container's first process takes all others along when it ends, and nobody looks at
who makes it. Here others may look, even trace (CAP_SYS_PTRACE): so the builder stays in the host's process namespace, and
what appears in the shared one has the container's root, user and capabilities already. What a program leaves behind is
known by its mounts, which no other container has.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from skiff.node import launch, syscalls

TYPE_CHECKING = False  # as in launch
if TYPE_CHECKING:
    from typing import Any, NoReturn

_SPACES = syscalls.NEW_NS | syscalls.NEW_UTS | syscalls.NEW_IPC
_ROUNDS, _ROUND_S = 1000, 0.005


def share(file: str) -> NoReturn:
    """Begin the program of a container among the processes of another one, or the host's; wait for it and end what it leaves."""
    order = launch.ordered(file)
    syscalls.end_with_parent()
    apart, tell = os.pipe()
    going, go = os.pipe()
    builder = os.fork()
    if not builder:
        syscalls.end_with_parent()
        os.close(go)
        _build(order, tell, going)
    for it in (tell, going):
        os.close(it)
    mounts = os.open(f"/proc/{builder}/ns/mnt", os.O_RDONLY) if os.read(apart, 1) else -1
    _, status = os.waitpid(builder, 0)
    if status:
        os._exit(launch.told(status))
    os.write(go, b"\n")
    os.close(go)
    os.close(order["begun"])
    _, status = os.waitpid(-1, 0)
    _end_rest(mounts)
    os._exit(launch.told(status))


def _build(order: dict[str, Any], tell: int, going: int) -> NoReturn:
    if order["processes"]:
        process = _still(*order["processes"])
        order["proc"] = _processes(process, order["processes"][0])
        syscalls.enter(process, syscalls.NEW_PID)  # of those to come
        os.close(process)
    syscalls.unshare(_SPACES)
    syscalls.keep_mounts_private()
    os.write(tell, b"\n")
    os.close(tell)

    def beget() -> None:
        if syscalls.fork_beside():
            os._exit(0)
        syscalls.end_with_parent()
        os.read(going, 1)  # until the builder is gone: there is one child of the guardian's child
        os.close(going)
        os.write(order["begun"], b"\n")

    launch.furnish(order, beget)


def _still(pid: int, since: str) -> int:
    """A descriptor of the process that began then."""
    process = syscalls.open_process(pid)
    with open(f"/proc/{pid}/stat") as file:
        if file.read().rpartition(")")[2].split()[19] != since:
            raise ProcessLookupError(3, "is another one by now", f"process {pid}")
    return process


def _processes(process: int, pid: int) -> int:
    """The /proc which a process sees, as a tree: the kernel mounts a new one only for who is already in there."""
    home, root = os.open("/proc/self/ns/mnt", os.O_RDONLY), os.open("/", os.O_PATH | os.O_DIRECTORY)
    spaces = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY)
    syscalls.enter(process, syscalls.NEW_NS)
    try:
        place = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        if not syscalls.is_proc(place) or not os.path.samestat(
            os.stat("1/ns/pid", dir_fd=place), os.fstat(spaces)
        ):
            raise FileNotFoundError(2, "is not that of the container's processes", "/proc")
        tree = syscalls.clone_tree(place, recursive=False)
        os.close(place)
    finally:
        syscalls.enter(home, syscalls.NEW_NS)
        os.fchdir(root)
        os.chroot(".")
    for it in (home, root, spaces):
        os.close(it)
    return tree


def _end_rest(mounts: int) -> None:
    """End all that is left of the container."""
    for _ in range(_ROUNDS):
        if not sum(_ended(int(it), mounts) for it in os.listdir("/proc") if it.isdigit()):
            return
        time.sleep(_ROUND_S)


def _ended(pid: int, mounts: int) -> bool:
    with contextlib.suppress(OSError):  # it has ended, or is none of ours
        process = os.pidfd_open(pid)
        try:
            if os.path.samestat(os.stat(f"/proc/{pid}/ns/mnt"), os.fstat(mounts)):
                signal.pidfd_send_signal(process, signal.SIGKILL)
                return True
        finally:
            os.close(process)
    return False
