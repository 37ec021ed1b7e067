"""Is it still the same process? A pid alone may be somebody else's by now: its start time tells."""

from __future__ import annotations

from pathlib import Path


def born(pid: int) -> str:
    """The start time of a process in clock ticks since the machine's; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def alive(pid: int, since: str) -> bool:
    """Whether the process that began then still runs; one that has ended and was not waited for does not."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return len(words) > 19 and words[19] == since and words[0] not in ("Z", "X")


def boot() -> str:
    """Names this run of the machine: of another one no process, namespace or mount is left."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
