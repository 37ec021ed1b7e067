"""How much does a container use? Of its control groups where there are any, else the sum over its processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from skiff.node import limits
from skiff.node.limits import number
from skiff.settings import Settings

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


class Usage(NamedTuple):
    """``cpu_ns`` since the container began; ``memory_bytes`` now, as kubelet's working set."""

    cpu_ns: int
    memory_bytes: int


class Running(NamedTuple):
    """A container of the pod ``uid``, whose program has the host's process id ``pid``."""

    uid: str
    container: str
    pid: int


def usages(settings: Settings, running: list[Running]) -> list[Usage]:
    """Of each of them; zeros when it has ended. However many there are, the machine's processes are looked at once."""
    told = [_accounted(limits.groups(settings, it.uid, it.container)) for it in running]
    summed = _summed({it.pid for it, known in zip(running, told, strict=True) if known is None})
    return [known or summed.get(it.pid, Usage(0, 0)) for it, known in zip(running, told, strict=True)]


def _accounted(groups: tuple[Path, ...]) -> Usage | None:
    """As the kernel counts it; None when it does not count both."""
    cpu_ns = memory = None
    for it in groups:
        if (micros := number(it / "cpu.stat", "usage_usec")) is not None:
            cpu_ns = micros * 1000
        elif (nanos := number(it / "cpuacct.usage")) is not None:
            cpu_ns = nanos
        if (held := number(it / "memory.current")) is not None:
            memory = held - (number(it / "memory.stat", "inactive_file") or 0)
        elif (held := number(it / "memory.usage_in_bytes")) is not None:
            memory = held - (number(it / "memory.stat", "total_inactive_file") or 0)
    return None if cpu_ns is None or memory is None else Usage(cpu_ns, max(memory, 0))


def _summed(programs: set[int]) -> dict[int, Usage]:
    """Over the processes of each. What those that ended used is in ``cutime`` of who waited for them."""
    mounts = {_space(it, "mnt"): it for it in programs}
    # Those of a privileged container may have mounts of their own; where it shares its processes, mounts tell.
    spaces = {_space(it, "pid"): it for it in programs if _is_first(it)}
    for several in (mounts, spaces):
        several.pop(0, None)  # of those that have ended
    ticks, memory = dict.fromkeys(programs, 0), dict.fromkeys(programs, 0)
    for it in _PROC.iterdir() if programs else ():
        if not it.name.isdigit():
            continue
        pid = int(it.name)
        program = mounts.get(_space(pid, "mnt")) or spaces.get(_space(pid, "pid"))
        if program is None:
            continue
        try:
            words = (it / "stat").read_text().rpartition(")")[2].split()
            memory[program] += _anonymous(it)
        except OSError:  # it ended, or is about to
            continue
        ticks[program] += sum(map(int, words[11:15]))
    return {it: Usage(ticks[it] * _TICK_NS, memory[it]) for it in programs}


def _space(pid: int, kind: str) -> int:
    """Names a namespace of a process; 0 when it has ended."""
    try:
        return (_PROC / str(pid) / "ns" / kind).stat().st_ino
    except OSError:
        return 0


def _is_first(pid: int) -> bool:
    """Whether it is the first process of its namespace, so that all others are its container's."""
    try:
        text = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return False
    numbers = next((it for it in text.splitlines() if it.startswith("NSpid:")), "").split()
    return len(numbers) > 2 and numbers[-1] == "1"


def _anonymous(process: Path) -> int:
    """The memory that is the process's own: pages of files are shared by all who map them."""
    kib = 0
    for line in (process / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "RssShmem"):
            kib += int(value.split()[0])
    return kib * 1024
