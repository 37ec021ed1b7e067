"""How does a container become a process? Namespaces, an own root over the host's, mounts, a user, then the program."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: What containers of Docker may do; a non-root user has none of it.
_DEFAULT = (
    "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write"
    " setfcap"
)


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
    scratch: Path


def needed_paths() -> list[Path]:
    """What the running interpreter needs: its installation, its environment and this checkout's sources."""
    source = Path(__file__).resolve().parents[2]
    return sorted(
        {
            Path(sys.prefix),
            Path(sys.base_prefix),
            Path(os.path.realpath(sys.executable)).parent.parent,
            source,
        }
    )


def _closed_ancestor(path: Path) -> Path | None:
    for ancestor in reversed(path.parents):
        if ancestor != Path("/") and not ancestor.stat().st_mode & 0o001:
            return ancestor
    return None


def setup_script(plan: Plan) -> str:
    """The shell script which runs as the first process of the container and turns into the program."""
    q = shlex.quote
    lines = [
        f"set -e; P=$PATH; PATH={_PATH}; umask 022",
        f"hostname {q(plan.hostname)}",
        f"mount -t tmpfs -o mode=755 tmpfs {q(str(plan.scratch))}; cd {q(str(plan.scratch))}; mkdir up work root",
        "mount -t overlay -o lowerdir=/,upperdir=up,workdir=work overlay root",
        "mount -t proc proc root/proc; mount --rbind /sys root/sys",
        *_devices(),
        "mount -t tmpfs -o mode=1777 tmpfs root/tmp; mount -t tmpfs -o mode=755 tmpfs root/run",
    ]
    hidden: set[Path] = set()
    for path in needed_paths():
        closed = _closed_ancestor(path)
        if closed and closed not in hidden:
            hidden.add(closed)
            lines.append(
                f"mkdir -p {q(f'root{closed}')}; mount -t tmpfs -o mode=755 tmpfs {q(f'root{closed}')}"
            )
        inside = q(f"root{path}")
        lines.append(
            f"mkdir -p {inside}; mount --rbind {q(str(path))} {inside}; mount -o remount,bind,ro {inside}"
        )
    if plan.applets:
        lines.append("mkdir -p root/skiff/bin; busybox --install -s root/skiff/bin")
    for mount in sorted(plan.mounts, key=lambda m: m.target.count("/")):
        target = q("root" + _resolved(mount.target))
        make = (
            f"mkdir -p {target}" if mount.source.is_dir() else f"mkdir -p $(dirname {target}); touch {target}"
        )
        lines.append(f"{make}; mount --rbind {q(str(mount.source))} {target}")
        if mount.read_only:
            lines.append(f"mount -o remount,bind,ro {target}")
    directory = plan.directory or "/"
    lines.append(f"mkdir -p {q('root' + directory)}")
    program = " ".join(
        q(word) for word in [*identity(plan.security), "/usr/bin/env", "-C", directory, *plan.argv]
    )
    lines.append(f"R=$PWD/root; PATH=$P; exec /usr/sbin/chroot $R {program}")
    return "\n".join(lines)


def _resolved(target: str) -> str:
    """Where a path lies once the host's symbolic links are followed: ``/var/run`` must not lead out of the root."""
    return os.path.realpath("/" + target.lstrip("/"))


def _devices() -> list[str]:
    """A /dev of its own: what containers may use of the host's, and room for what is mounted into it."""
    nodes = "null zero full random urandom tty"
    return [
        "mount -t tmpfs -o mode=755 tmpfs root/dev; mkdir root/dev/shm root/dev/pts root/dev/mqueue",
        f"for D in {nodes}; do touch root/dev/$D; mount --bind /dev/$D root/dev/$D; done",
        "mount -t tmpfs -o mode=1777 tmpfs root/dev/shm",
        "mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts root/dev/pts",
        "ln -s pts/ptmx root/dev/ptmx; ln -s /proc/self/fd root/dev/fd; ln -s fd/0 root/dev/stdin",
        "ln -s fd/1 root/dev/stdout; ln -s fd/2 root/dev/stderr",
    ]


def identity(security: dict[str, Any]) -> list[str]:
    """The setpriv command which takes the user, groups and capabilities of a security context."""
    user = int(security.get("runAsUser") or 0)
    group = int(security.get("runAsGroup") or 0)
    groups = sorted({*(security.get("supplementalGroups") or []), *filter(None, [security.get("fsGroup")])})
    said = security.get("capabilities") or {}
    dropped = {name.lower().removeprefix("cap_") for name in said.get("drop") or []}
    kept = set() if "all" in dropped else set(_DEFAULT.split()) - dropped
    kept |= {name.lower().removeprefix("cap_") for name in said.get("add") or []}
    command = ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}"]
    command.append(f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups")
    if not (security.get("privileged") or "all" in kept):
        listed = "".join(f",+{name}" for name in sorted(kept))
        command += [f"--bounding-set=-all{listed}", "--inh-caps=-all"]
    if security.get("allowPrivilegeEscalation") is False:
        command.append("--no-new-privs")
    return command


async def start(plan: Plan) -> asyncio.subprocess.Process:
    """The container's guardian: it ends when the program ends, with its code, and takes it along when killed."""
    plan.scratch.mkdir(parents=True, exist_ok=True)
    return await asyncio.create_subprocess_exec(
        "/usr/bin/setpriv", "--pdeathsig=KILL", "/usr/bin/nsenter", f"--net=/run/netns/{plan.namespace}",
        "/usr/bin/unshare", "--mount", "--propagation=private", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
        "/bin/sh", "-c", setup_script(plan),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PATH": _PATH, **plan.env}, start_new_session=True,
    )  # fmt: skip


def first_process(guardian: int) -> int | None:
    """The program's process id as the host sees it."""
    try:
        children = Path(f"/proc/{guardian}/task/{guardian}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def exec_command(guardian: int, command: list[str], security: dict[str, Any], directory: str) -> list[str]:
    """The command line which runs another program in a running container."""
    pid = first_process(guardian)
    if pid is None:
        raise ProcessLookupError("the container is not running")
    return [
        "/usr/bin/nsenter", f"--target={pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root",
        *identity(security), "/usr/bin/env", "-C", directory or "/", *command,
    ]  # fmt: skip
