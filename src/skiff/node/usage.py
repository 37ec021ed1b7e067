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


def usage(settings: Settings, uid: str, container: str, pid: int) -> Usage:
    """Of one container of the pod ``uid``, whose program has the host's process id ``pid``; zeros when it has ended."""
    told = _accounted(limits.groups(settings, uid, container))
    return told if told is not None else _summed(pid)


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


def _summed(pid: int) -> Usage:
    """Over the processes of its pid namespace. What those that ended used is in ``cutime`` of who waited for them."""
    try:
        inside = (_PROC / str(pid) / "ns" / "pid").stat().st_ino
    except OSError:
        return Usage(0, 0)
    ticks = memory = 0
    for it in _PROC.iterdir():
        if not it.name.isdigit():
            continue
        try:
            if (it / "ns" / "pid").stat().st_ino != inside:
                continue
            words = (it / "stat").read_text().rpartition(")")[2].split()
            memory += _anonymous(it)
        except OSError:  # it ended, or is about to
            continue
        ticks += sum(map(int, words[11:15]))
    return Usage(ticks * _TICK_NS, memory)


def _anonymous(process: Path) -> int:
    """The memory that is the process's own: pages of files are shared by all who map them."""
    kib = 0
    for line in (process / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "RssShmem"):
            kib += int(value.split()[0])
    return kib * 1024
