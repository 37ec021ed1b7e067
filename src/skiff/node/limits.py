"""How much may all containers together use? Control groups, where the machine lets us make them (versions 1 and 2)."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from skiff.settings import Settings

_ROOT = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000

#: The file in skiff's folder which tells what came of the wishes.
TOLD = "limits"


def prepare(settings: Settings, root: Path = _ROOT) -> tuple[tuple[Path, ...], str]:
    """(the groups containers join, a sentence about it). Without ``--cpus`` and ``--memory`` there is no limit."""
    if not settings.cpus and not settings.memory_mib:
        return (), ""
    asked = [f"{settings.cpus} CPUs"] if settings.cpus else []
    asked += [f"{settings.memory_mib} MiB of memory"] if settings.memory_mib else []
    wish = " and ".join(asked)
    try:
        groups = (
            _version2(settings, root) if (root / "cgroup.controllers").exists() else _version1(settings, root)
        )
    except OSError as refused:
        remove(settings, root)
        return (), f"{wish}: told to the scheduler, not enforced ({refused.strerror}: {refused.filename})"
    return groups, f"{wish}: enforced by control groups"


def remove(settings: Settings, root: Path = _ROOT) -> None:
    """Take the groups away; their processes have ended."""
    for it in (root, root / "cpu", root / "memory"):
        with contextlib.suppress(OSError):
            (it / _name(settings)).rmdir()


def _name(settings: Settings) -> str:
    """One for each cluster of the machine."""
    return f"skiff-{hashlib.sha256(str(settings.home.resolve()).encode()).hexdigest()[:8]}"


def _version1(settings: Settings, root: Path) -> tuple[Path, ...]:
    groups = []
    if settings.cpus:
        groups.append(root / "cpu" / _name(settings))
        groups[-1].mkdir(exist_ok=True)
        (groups[-1] / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (groups[-1] / "cpu.cfs_quota_us").write_text(str(settings.cpus * _PERIOD_US))
    if settings.memory_mib:
        groups.append(root / "memory" / _name(settings))
        groups[-1].mkdir(exist_ok=True)
        (groups[-1] / "memory.limit_in_bytes").write_text(str(settings.memory_mib * 2**20))
    return tuple(groups)


def _version2(settings: Settings, root: Path) -> tuple[Path, ...]:
    group = root / _name(settings)
    (root / "cgroup.subtree_control").write_text("+cpu +memory")
    group.mkdir(exist_ok=True)
    if settings.cpus:
        (group / "cpu.max").write_text(f"{settings.cpus * _PERIOD_US} {_PERIOD_US}")
    if settings.memory_mib:
        (group / "memory.max").write_text(str(settings.memory_mib * 2**20))
    return (group,)
