"""What does a container see? A root of its own over the host's programs, its mounts, and nothing else of the host.

This is the daemon's side: it writes down what ``skiff.node.launch`` then does inside. The host's programs are the lower
side of overlays, so a container sees them and never changes them; see ``skeleton`` for the rest.
"""

from __future__ import annotations

import marshal
import os
from pathlib import Path
from typing import Any, NamedTuple

from skiff.node import skeleton
from skiff.node.identity import identity
from skiff.node.launch import VARIABLE

#: Where an image's own programs are; first on the PATH of its containers.
PROGRAMS = "/skiff/bin"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: What tells of, or changes, the whole machine: read-only, and hidden. As container runtimes do.
_KEPT = [f"/proc/{it}" for it in ("bus", "fs", "irq", "sys", "sysrq-trigger")]
_MASKED = [
    *(f"/proc/{it}" for it in ("acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi",
                               "timer_list", "timer_stats")),
    "/sys/firmware", "/sys/devices/virtual/powercap",
]  # fmt: skip
_LAUNCH = "from skiff.node.launch import main; main()"


class Mount(NamedTuple):
    """A host path, or what lies at ``sub`` inside of it, bound into the container."""

    source: Path
    target: str
    read_only: bool
    sub: str = ""


class Among(NamedTuple):
    """The processes that a container is one of: those which this one sees; the host's when there is none."""

    pid: int = 0
    since: str = ""


class Plan(NamedTuple):
    """All that is needed to start one container."""

    namespace: str
    hostname: str
    argv: list[str]
    env: dict[str, str]
    directory: str
    mounts: list[Mount]
    security: dict[str, Any]
    applets: bool
    commands: dict[str, list[str]]  # what the image has on its PATH beside the host's programs
    scratch: Path
    home: Path  # skiff's folder, which no container sees
    groups: tuple[Path, ...] = ()  # control groups to join
    shown: tuple[str, ...] = ()  # what the image needs of the host's other folders
    among: Among | None = None  # whose processes it sees beside its own


def starting(plan: Plan, begun: int) -> list[str]:
    """The command which, as the first process of its namespaces, becomes the container's program.

    Among other processes it makes the namespaces itself (``skiff.node.sharing``). It tells the descriptor ``begun`` that it
    is done. Give it ``surroundings``, not the container's variables.
    """
    file = order_file(plan.scratch)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as order:
        marshal.dump(_order(plan, begun), order)
    return [*_launcher(plan.home), "start" if plan.among is None else "share", str(file)]


def order_file(scratch: Path) -> Path:
    """What makes a container; its first process was given this name until the program begins."""
    return scratch.with_name(f"{scratch.name}.order")


def entering(
    home: Path,
    pid: int,
    command: list[str],
    security: dict[str, Any],
    directory: str,
    groups: tuple[Path, ...] = (),
) -> list[str]:
    """The command which runs another program in the container of a process; variables for it as ``guarded`` gives them."""
    order = {
        "pid": pid, "argv": command, "directory": directory or "/", "identity": identity(security), "dies": True,
        "groups": [str(it) for it in groups],
    }  # fmt: skip
    return [*_launcher(home), "enter", marshal.dumps(order).hex()]


def surroundings() -> dict[str, str]:
    """The environment in which skiff's own programs run. None of it is a pod's to choose."""
    return {"PATH": PATH, "PYTHONPATH": str(Path(__file__).parents[2])}


def guarded(env: dict[str, str]) -> dict[str, str]:
    """A container's variables on their way through programs of the host, which obey some names (LD_PRELOAD)."""
    return {**surroundings(), **{f"{VARIABLE}{name}": value for name, value in env.items()}}


def _launcher(home: Path) -> list[str]:
    return [str(skeleton.interpreter(home)), "-S", "-s", "-P", "-c", _LAUNCH]


def _order(plan: Plan, begun: int) -> dict[str, Any]:
    mounts = sorted((_mount(it) for it in plan.mounts), key=lambda it: it[2].count("/"))
    layers = [skeleton.applets(plan.home)] if plan.applets else []
    privileged = bool(plan.security.get("privileged"))
    home = os.path.realpath(plan.home)
    return {
        "argv": plan.argv, "env": plan.env, "directory": plan.directory or "/", "hostname": plan.hostname, "mounts": mounts,
        "identity": identity(plan.security), "dies": True, "groups": [str(it) for it in plan.groups], "begun": begun,
        "scratch": str(plan.scratch), "skeletons": [str(it) for it in (*layers, skeleton.skeleton(plan.home))],
        "trees": skeleton.trees(), "shown": list(plan.shown), "covered": [home],
        "kept": [] if privileged else _KEPT, "masked": [] if privileged else _MASKED,
        "files": [(f"{PROGRAMS}/{name}", _script(argv)) for name, argv in plan.commands.items()],
        "read_only": bool(plan.security.get("readOnlyRootFilesystem")),
        "processes": tuple(plan.among) if plan.among and plan.among.pid else None,
    }  # fmt: skip


def _mount(it: Mount) -> tuple[str, str, str, bool]:
    return (os.path.realpath(it.source), it.sub, os.path.normpath("/" + it.target.lstrip("/")), it.read_only)


def _script(argv: list[str]) -> str:
    """A command of the image, which ``exec`` and hooks find by its name."""
    words = " ".join("'" + it.replace("'", "'\\''") + "'" for it in argv)
    return f'#!/bin/sh\nexec {words} "$@"\n'
