"""What has everything on the node used? Each container's figures, and the daemon's own."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from pathlib import Path

from skiff.api import Measured
from skiff.node.usage import Running, usages
from skiff.settings import Settings


def measure(settings: Settings, running: Iterable[tuple[str, str, str, str, str, int]]) -> list[Measured]:
    """Of (namespace, pod, container, uid of the pod, when it began, its program's pid). For a thread: it reads many files."""
    every = list(running)
    figures = usages(settings, [Running(uid, container, pid) for _, _, container, uid, _, pid in every])
    return [
        _daemon(),
        *(Measured(*of, *used) for of, used in zip((it[:5] for it in every), figures, strict=True)),
    ]


def _daemon() -> Measured:
    own = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    cpu = int((own.ru_utime + own.ru_stime) * 1e9)
    return Measured("", "", "", "", "", cpu, pages * resource.getpagesize())
