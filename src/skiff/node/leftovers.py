"""What did a daemon leave behind? Its containers end with it; namespaces, links, mounts and groups are taken away here."""

from __future__ import annotations

from pathlib import Path

from skiff.net.kernel import run
from skiff.net.namespace import NodeNetwork
from skiff.node import limits
from skiff.settings import Settings


async def clear_network(settings: Settings) -> None:
    """Remove every network namespace, link and route of a node, whichever cluster made them."""
    await NodeNetwork(settings.pod_cidr, settings.service_cidr, ()).remove()


async def clear_own(settings: Settings) -> None:
    """Remove the mounts and control groups of this cluster."""
    await unmount(settings.home)
    limits.remove(settings)


async def unmount(home: Path) -> None:
    """Volumes in memory of a daemon that was killed."""
    below = f"{home.resolve()}/"
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        place = line.split()[4].replace("\\040", " ")
        if place.startswith(below):
            await run("umount", "-l", place, check=False)
