"""What does a container see? A root of its own over the host's: the script that makes it and turns into the program.

The root is an overlay: a container sees the host's programs and never changes them. What the host keeps for itself (its
users' folders, temporary files, devices, skiff's own folder) is covered by empty folders, and the host's root itself is
left behind with ``pivot_root``.
"""

from __future__ import annotations

import functools
import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Any, NamedTuple

from skiff.node.identity import identity

#: Where an image's own programs are; first on the PATH of its containers.
PROGRAMS = "/skiff/bin"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Empty in every container, as in an image. The first three may hold secrets of the host's users.
_OWN = {"/root": "700", "/home": "755", "/var/tmp": "1777", "/tmp": "1777", "/run": "755"}  # noqa: S108  # in the container
_THE_HOSTS = ("sys", "sysrq-trigger", "irq", "bus")  # parts of proc that change the machine
_OLD = "/.host"  # where the host's root is while a container's is set up
_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_DEVICE_LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}  # fmt: skip


#: What separates words and lines in there.
_ESCAPED = str.maketrans({it: f"\\{ord(it):03o}" for it in "\\ \t\n#"})


class Mount(NamedTuple):
    """A host path bound into the container."""

    source: Path
    target: str
    read_only: bool


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


@functools.cache
def needed_paths() -> tuple[Path, ...]:
    """What the running interpreter needs and the overlay does not show: environments, sources, other file systems."""
    source = Path(__file__).resolve().parents[2]
    wanted = {Path(sys.prefix), Path(sys.base_prefix), source}
    wanted.add(Path(os.path.realpath(sys.executable)).parent.parent)
    wanted |= {Path(it).resolve() for it in sys.path if it and Path(it).is_dir()} - {Path("/")}
    shown = Path("/").stat().st_dev
    return tuple(
        path
        for path in sorted(wanted)
        if (path.stat().st_dev != shown or _covered(path) or _closed_ancestor(path))
        and not any(other in path.parents for other in wanted)
    )


def _covered(path: Path) -> bool:
    return any(Path(it) in path.parents for it in _OWN)


def _closed_ancestor(path: Path) -> Path | None:
    """The uppermost folder on the way that only its owner may enter."""
    for ancestor in reversed(path.parents):
        if ancestor != Path("/") and not ancestor.stat().st_mode & 0o001:
            return ancestor
    return None


def make_devices(folder: Path) -> None:
    """The devices of every container, to be copied; made once."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (major, minor) in _DEVICES.items():
        path = folder / name
        if not path.exists():
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            path.chmod(0o666)
    for name, target in _DEVICE_LINKS.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(target)


def devices(home: Path) -> Path:
    """Where ``make_devices`` puts them."""
    return home / "devices"


def _line(source: str | Path, target: str, kind: str, options: str) -> str:
    """A line as in fstab."""
    words = [str(source), target, kind, options]
    return " ".join(it.translate(_ESCAPED) for it in words)


def _own_mounts(plan: Plan, root: str) -> list[str]:
    """The root's parts that are not the host's, as lines of fstab; all but proc, sys and dev are empty."""
    lines = [
        _line("proc", f"{root}/proc", "proc", "nosuid,nodev,noexec"),
        _line("sysfs", f"{root}/sys", "sysfs", "ro,nosuid,nodev,noexec"),
        _line("tmpfs", f"{root}/dev", "tmpfs", "mode=755,nosuid"),
        _line("devpts", f"{root}/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620,X-mount.mkdir"),
        _line("tmpfs", f"{root}/dev/shm", "tmpfs", "mode=1777,nosuid,nodev,X-mount.mkdir"),  # noqa: S108
    ]
    if not plan.security.get("privileged"):
        lines += [
            _line(f"{root}/proc/{it}", f"{root}/proc/{it}", "none", "bind,ro")
            for it in _THE_HOSTS
            if Path(f"/proc/{it}").exists()
        ]
    for path, mode in _hidden(plan).items():
        lines.append(_line("tmpfs", root + path, "tmpfs", f"mode={mode},X-mount.mkdir"))
    for needed in needed_paths():
        lines.append(_line(needed, f"{root}{needed}", "none", "rbind,ro,X-mount.mkdir"))
        if needed in plan.home.parents:  # skiff's folder lies in the checkout: cover it again
            lines.append(_line("tmpfs", f"{root}{plan.home}", "tmpfs", "mode=755"))
    return lines


def _hidden(plan: Plan) -> dict[str, str]:
    """Path -> mode of the empty folders, outer ones first."""
    found = {path: mode for path, mode in _OWN.items() if Path(path).is_dir() and not Path(path).is_symlink()}
    for path in needed_paths():
        if closed := _closed_ancestor(path):
            found[str(closed)] = "755"
    if not any(Path(it) in plan.home.parents for it in found):
        found[str(plan.home)] = "755"
    return dict(sorted(found.items()))


def setup_script(plan: Plan, begun: Path) -> str:
    """The shell script which runs as the first process of the container and turns into the program.

    It tells the fifo ``begun`` that it is done.
    """
    q = shlex.quote
    root = f"{plan.scratch}/root"
    mounts = sorted(plan.mounts, key=lambda it: _inside(it.target).count("/"))
    lines = [f"echo 0 > {q(str(it / 'cgroup.procs'))}" for it in plan.groups]
    lines += [
        f"exec 9> {q(str(begun))}",
        f"set -e; P=$PATH; PATH={PATH}; umask 022; trap 'exit 143' TERM",  # until the program decides itself
        f"hostname {q(plan.hostname)}",
        f"mount -t tmpfs -o mode=755 tmpfs {q(str(plan.scratch))}; cd {q(str(plan.scratch))}; mkdir -p up{_OLD} work root",
        "mount -t overlay -o lowerdir=/,upperdir=up,workdir=work overlay root",
        *_mounting(_own_mounts(plan, root), "first"),
        f"cp -a {q(str(devices(plan.home)))}/. root/dev/",
        # From here on paths mean what they mean in the container: /var/run may be a link to /run.
        f"cd {q(root)}; pivot_root . .{_OLD}; cd /",
    ]
    if plan.applets:
        lines.append(f"mkdir -p {PROGRAMS}; busybox --install -s {PROGRAMS}")
    lines += _commands(plan.commands)
    lines += _targets(plan, mounts)
    bound = [
        _line(
            f"{_OLD}{os.path.realpath(it.source)}",
            _inside(it.target),
            "none",
            "rbind,ro" if it.read_only else "rbind",
        )
        for it in mounts
    ]
    lines += _mounting(bound, f"{_OLD}{plan.scratch}/second")
    lines.append(f"umount -l {_OLD}; rmdir {_OLD}")
    if plan.security.get("readOnlyRootFilesystem"):
        lines += [f"mount -o remount,bind,ro {it}" for it in ("/", *_OWN) if it == "/" or it in _hidden(plan)]
    if user := int(plan.security.get("runAsUser") or 0):
        # As container runtimes do: a program may open /dev/stdout, and these pipes are root's.
        lines.append(f"chown {user} /proc/self/fd/1 /proc/self/fd/2 || :")
    program = " ".join(
        q(word)
        for word in [*identity(plan.security), "/usr/bin/env", "-C", plan.directory or "/", *plan.argv]
    )
    lines.append(f"PATH=$P; echo >&9; exec {program} 9>&-")
    return "\n".join(lines)


def _commands(commands: dict[str, list[str]]) -> list[str]:
    """Writes the image's own commands, so that ``exec`` and hooks find them by name."""
    lines = []
    for name, argv in commands.items():
        script, there = f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n', shlex.quote(f"{PROGRAMS}/{name}")
        lines.append(f"mkdir -p {PROGRAMS}; printf %s {shlex.quote(script)} > {there}; chmod 755 {there}")
    return lines


def _mounting(table: list[str], file: str) -> list[str]:
    """One program makes all mounts: twenty would take longer than everything else."""
    text = "".join(f"{it}\n" for it in table)
    return [f"printf %s {shlex.quote(text)} > {shlex.quote(file)}", f"mount -a -T {shlex.quote(file)}"]


def _inside(target: str) -> str:
    return os.path.normpath("/" + target.lstrip("/"))


def _targets(plan: Plan, mounts: list[Mount]) -> list[str]:
    """Makes what is mounted on. A place inside another volume is made in that volume, as container runtimes do."""
    folders, files = {_inside(plan.directory or "/")}, set()
    for it in mounts:
        target = _inside(it.target)
        outer = [other for other in mounts if target.startswith(_inside(other.target) + "/")]
        if outer:
            nearest = max(outer, key=lambda other: len(_inside(other.target)))
            _make(nearest.source, target[len(_inside(nearest.target)) + 1 :], folder=it.source.is_dir())
        elif it.source.is_dir():
            folders.add(target)
        else:
            folders.add(str(Path(target).parent))
            files.add(target)
    made = [f"mkdir -p {' '.join(map(shlex.quote, sorted(folders)))}"]
    for file in sorted(files):
        there = shlex.quote(file)
        made.append(f"[ -e {there} ] || : > {there}")
    return made


def _make(volume: Path, place: str, *, folder: bool) -> None:
    path = (volume / place).resolve()
    if not path.is_relative_to(volume.resolve()):
        raise OSError(f"{place} leads out of its volume")  # by a link which a container has put there
    if path.exists():
        return
    if folder:
        path.mkdir(parents=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
