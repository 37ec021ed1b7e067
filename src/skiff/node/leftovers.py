"""What did a daemon leave behind? What still has a pod goes on; all else is ended and taken away here."""

from __future__ import annotations

from pathlib import Path

from skiff.net.kernel import run
from skiff.net.namespace import NodeNetwork
from skiff.node import limits, records
from skiff.node.records import Sandbox
from skiff.settings import Settings


async def sort(home: Path, wanted: set[Path]) -> list[Sandbox]:
    """The places in the network of pods that go on, by their folders. What runs for others is ended at once."""
    kept = []
    for folder in _folders(home):
        if folder not in wanted:
            records.kill(folder)
            records.forget(folder)
        elif found := records.sandbox(folder):
            kept.append(found)
    return kept


def _folders(home: Path) -> list[Path]:
    return sorted((home / "pods").iterdir()) if (home / "pods").is_dir() else []


async def clear(settings: Settings, *, alone: bool) -> None:
    """End what a killed daemon left of a cluster: processes, network namespaces, link, mounts and control groups.

    ``alone``: see ``NodeNetwork.remove``.
    """
    for folder in _folders(settings.home):
        records.kill(folder)
        records.forget(folder)
    await NodeNetwork(settings.home, settings.pod_cidr, settings.service_cidr, ()).remove(alone=alone)
    await unmount(settings.home)
    limits.remove(settings)


def running(home: Path) -> int:
    """How many containers go on, whether a daemon runs or not."""
    return sum(records.running(it) for it in _folders(home))


async def unmount(folder: Path) -> None:
    """What is mounted below: volumes in memory of a daemon that was killed."""
    below = f"{folder.resolve()}/"
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        place = line.split()[4].replace("\\040", " ")
        if place.startswith(below):
            await run("umount", "-l", place, check=False)
