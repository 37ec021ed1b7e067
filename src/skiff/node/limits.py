"""How much may containers use, each and all together? Control groups, where the machine lets us make them (versions 1 and 2).

The names of groups follow from the cluster, the pod and the container, so that a daemon finds those of an earlier one.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from skiff.node.environment import CannotStartError
from skiff.quantities import parse
from skiff.settings import Settings

_ROOT = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000
#: The kernel takes no smaller share of a period.
_LEAST_US = 1_000
#: Processes and threads of one pod: a pod that forks without end does not take the machine along.
_MOST_PROCESSES = 8192
_CONTROLLED = {"cpu": "CPU", "memory": "memory", "pids": "processes"}

#: The file in skiff's folder which tells what came of the wishes.
TOLD = "limits"


class Amounts(NamedTuple):
    """None: as much as there is."""

    cpus: float | None = None
    memory_bytes: int | None = None
    processes: int | None = None
    shares: float | None = None  # CPUs that are asked for, when there are not enough for all


class OfPod(NamedTuple):
    """The control groups of one pod."""

    settings: Settings
    uid: str

    def fresh(self, spec: dict[str, Any]) -> tuple[Path, ...]:
        """For a container that is about to start; CannotStartError when the machine refuses."""
        try:
            return make(self.settings, self.uid, spec["name"], spec.get("resources") or {})
        except OSError as wrong:
            raise CannotStartError(f"failed to create a control group: {wrong}") from wrong

    def groups(self, container: str) -> tuple[Path, ...]:
        """Of a container that runs."""
        return groups(self.settings, self.uid, container)

    def exceeded_memory(self, container: str) -> bool:
        """Whether the kernel has ended one of its processes for want of memory."""
        found = groups(self.settings, self.uid, container)
        return any(
            number(it / name, "oom_kill") for it in found for name in ("memory.events", "memory.oom_control")
        )

    def forget(self) -> None:
        """Take them away; their processes have ended."""
        for cluster in _clusters(self.settings, _ROOT).values():
            _remove(cluster / self.uid)


def prepare(settings: Settings, root: Path = _ROOT) -> str:
    """Make the groups that hold all others; a sentence about what is enforced."""
    asked = [f"{settings.cpus} CPUs"] if settings.cpus else []
    asked += [f"{settings.memory_mib} MiB of memory"] if settings.memory_mib else []
    wish = " and ".join(asked)
    whole = Amounts(settings.cpus or None, settings.memory_mib * 2**20 or None)
    refused = _make_cluster(settings, root, whole)
    bad = [it for it in _CONTROLLED if it in refused]
    why = next(iter(refused.values()), "")
    told = []
    if wish:
        hurt = {it for it, given in (("cpu", settings.cpus), ("memory", settings.memory_mib)) if given} & set(
            bad
        )
        fate = f"told to the scheduler, not enforced ({why})" if hurt else "enforced by control groups"
        told.append(f"{wish}: {fate}")
    if good := [_CONTROLLED[it] for it in _CONTROLLED if it not in bad]:
        told.append(f"{_listed(good)} of containers: enforced by control groups")
    if bad:
        told.append(f"{_listed(_CONTROLLED[it] for it in bad)} of containers: not enforced ({why})")
    return "; ".join(told)


def make(
    settings: Settings, uid: str, container: str, resources: dict[str, Any], root: Path = _ROOT
) -> tuple[Path, ...]:
    """Fresh groups for a container that is about to start, to be joined by it. OSError when the machine refuses."""
    amounts = _amounts(resources)
    made = []
    for controller, cluster in _clusters(settings, root).items():
        pod = cluster / uid
        group = pod / container
        with contextlib.suppress(OSError):  # of the run before: its counters shall begin anew
            group.rmdir()
        if not pod.exists():
            pod.mkdir()
            _hand_down(pod)
            _limit(pod, controller, Amounts(processes=_MOST_PROCESSES))
        group.mkdir(exist_ok=True)
        _limit(group, controller, amounts)
        made.append(group)
    return tuple(made)


def groups(settings: Settings, uid: str, container: str, root: Path = _ROOT) -> tuple[Path, ...]:
    """Those of a container that runs."""
    found = (cluster / uid / container for cluster in _clusters(settings, root).values())
    return tuple(it for it in found if it.exists())


def number(file: Path, key: str = "") -> int | None:
    """The number that a file of a group holds, alone or behind a key."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if not key and line.isdigit():
            return int(line)
        name, _, value = line.partition(" ")
        if key and name == key and value.isdigit():
            return int(value)
    return None


def sweep(settings: Settings, known: set[str], root: Path = _ROOT) -> None:
    """Take away the groups of pods that ended while no daemon ran."""
    for cluster in _clusters(settings, root).values():
        for it in cluster.iterdir():
            if it.is_dir() and it.name not in known:
                _remove(it)


def remove(settings: Settings, root: Path = _ROOT) -> None:
    """Take all groups away; of those in which something still runs, nothing."""
    for cluster in _clusters(settings, root).values():
        _remove(cluster)


def _clusters(settings: Settings, root: Path) -> dict[str, Path]:
    """Controller -> the cluster's group; with version 2 one for all of them, under the name ""."""
    name = _name(settings)
    if (root / "cgroup.controllers").exists():
        found = {"": root / name}
    else:
        found = {it: root / it / name for it in (*_CONTROLLED, "cpuacct")}
    return {controller: path for controller, path in found.items() if path.exists()}


def _name(settings: Settings) -> str:
    """One for each cluster of the machine."""
    return f"skiff-{hashlib.sha256(str(settings.home.resolve()).encode()).hexdigest()[:8]}"


def _make_cluster(settings: Settings, root: Path, whole: Amounts) -> dict[str, str]:
    """Controller -> why it is not there."""
    if (root / "cgroup.controllers").exists():
        group = root / _name(settings)
        try:
            _hand_down(root)
            group.mkdir(exist_ok=True)
            _hand_down(group)
            _limit(group, "", whole)
        except OSError as wrong:
            _remove(group)
            return dict.fromkeys(_CONTROLLED, f"{wrong.strerror}: {wrong.filename}")
        return {}
    refused = {}
    for it in (*_CONTROLLED, "cpuacct"):
        group = root / it / _name(settings)
        if not group.parent.is_dir():
            refused[it] = f"this machine has no {group.parent}"
            continue
        try:
            group.mkdir(exist_ok=True)
            _limit(group, it, whole)
        except OSError as wrong:
            _remove(group)
            refused[it] = f"{wrong.strerror}: {wrong.filename}"
    return refused


def _hand_down(group: Path) -> None:
    """With version 2 a group says which controllers those below it have."""
    if (group / "cgroup.subtree_control").exists():
        (group / "cgroup.subtree_control").write_text("+cpu +memory +pids")


def _amounts(resources: dict[str, Any]) -> Amounts:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    cpus, memory = limits.get("cpu"), limits.get("memory")
    shares = requests.get("cpu", cpus)
    return Amounts(
        float(parse(str(cpus))) if cpus is not None else None,
        int(parse(str(memory))) if memory is not None else None,
        shares=float(parse(str(shares))) if shares is not None else None,
    )


def _limit(group: Path, controller: str, amounts: Amounts) -> None:
    version2 = not controller
    if amounts.cpus and controller in ("", "cpu"):
        quota = max(int(amounts.cpus * _PERIOD_US), _LEAST_US)
        if version2:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
    if amounts.shares is not None and controller in ("", "cpu"):
        shares = min(max(int(amounts.shares * 1024), 2), 262144)
        if version2:
            (group / "cpu.weight").write_text(str(1 + (shares - 2) * 9999 // 262142))
        else:
            (group / "cpu.shares").write_text(str(shares))
    if amounts.memory_bytes and controller in ("", "memory"):
        names = ("memory.max", "") if version2 else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        (group / names[0]).write_text(str(amounts.memory_bytes))
        with contextlib.suppress(OSError):  # machines without swap have no such files
            if version2:
                (group / "memory.swap.max").write_text("0")
                (group / "memory.oom.group").write_text("1")
            else:
                (group / names[1]).write_text(str(amounts.memory_bytes))
    if amounts.processes and controller in ("", "pids"):
        (group / "pids.max").write_text(str(amounts.processes))


def _remove(group: Path) -> None:
    """From the innermost on; a folder of the kernel's is removed with its files."""
    with contextlib.suppress(OSError):
        for it in group.iterdir():
            if it.is_dir():
                _remove(it)
    with contextlib.suppress(OSError):
        group.rmdir()


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
