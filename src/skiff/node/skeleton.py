"""What of the host's files is in every container? Its programs, and of /etc what programs need; nothing that is somebody's.

The rest of a container's root is empty folders. They and the chosen part of /etc are copied once into skiff's folder, and
anew when the host's have changed; the trees of programs are shown as they are. All of it is the lower side of overlays.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

#: Programs and libraries; on most machines all but the first are links into it.
_TREES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
#: Of /etc, as globs: how programs find libraries, certificates, names, times, types. Not: users' secrets, keys, services.
_ETC = (
    "alternatives bash.bashrc bindresvport.blacklist ca-certificates ca-certificates.conf crypto-policies debian_version"
    " ethertypes fonts gai.conf host.conf inputrc iproute2 java* ld.so.cache ld.so.conf ld.so.conf.d locale.alias"
    " localtime login.defs lsb-release magic magic.mime mime.types netconfig networks nsswitch.conf openssl os-release perl"
    " pki profile protocols python3* redhat-release rpc services shells skel ssl terminfo timezone xattr.conf"
)
_PRIVATE = ("private", "*.key")
_FOLDERS = (
    "boot dev etc home media mnt opt proc run skiff skiff/bin srv sys var var/cache var/lib var/log var/mail var/opt"
    " var/spool"
)
_OPEN = ("tmp", "var/tmp")
_LINKS = {"var/run": "/run", "var/lock": "/run/lock", "etc/mtab": "/proc/self/mounts"}
#: Above these are people, who may be anybody; below them what packages made.
_FIRST_PERSON, _NOBODY = 1000, 65534
_LARGEST = 8 * 2**20


def trees() -> list[str]:
    """Folders of programs that lie in / itself."""
    return [it for it in _TREES if Path(it).is_dir() and not Path(it).is_symlink()]


def skeleton(home: Path) -> Path:
    """The folder with everything else; made when the host's /etc is not what it was."""
    return _kept(home, "root", [*_chosen(), Path("/etc/passwd"), Path("/etc/group")], _fill)


def applets(home: Path) -> Path:
    """A folder with busybox under all of its names, for images that want them."""
    busybox = Path(shutil.which("busybox") or "/bin/busybox")
    return _kept(home, "applets", [busybox] if busybox.exists() else [], _name_applets)


def interpreter(home: Path) -> Path:
    """Where the daemon's interpreter can be run, but never written to, as ``prepare`` has mounted it."""
    binary = Path(sys.executable).resolve()
    return home / "python" / binary.relative_to(binary.parent.parent)


def prepare(home: Path) -> None:
    """Before the first container. Who runs a program could write to its file, if it were not for a mount."""
    place = home / "python"
    if not os.path.ismount(place):
        place.mkdir(parents=True, exist_ok=True)
        source = Path(sys.executable).resolve().parent.parent
        subprocess.run(["mount", "-o", "bind,ro", str(source), str(place)], check=True)
    skeleton(home)


def _kept(home: Path, name: str, sources: list[Path], fill: Callable[[Path], None]) -> Path:
    """Containers that run use the old one for as long as they live, so a new one is another folder."""
    digest = hashlib.sha256()
    for it in sources:
        found = it.lstat()
        digest.update(f"{it} {found.st_mode} {found.st_mtime_ns} {found.st_size}\n".encode())
    place = home / "skeletons" / f"{name}-{digest.hexdigest()[:12]}"
    if not place.exists():
        making = place.with_name(f"{place.name}.{os.getpid()}")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        making.chmod(0o755)
        fill(making)
        making.rename(place)
    return place


def _chosen() -> list[Path]:
    return sorted(path for it in _ETC.split() for path in Path("/etc").glob(it))


def _fill(folder: Path) -> None:
    for it in _FOLDERS.split():
        (folder / it).mkdir(mode=0o755)
    for it in _OPEN:
        (folder / it).mkdir()
        (folder / it).chmod(0o1777)
    (folder / "root").mkdir(mode=0o700)
    for name in _TREES:
        if Path(name).is_symlink():
            (folder / name[1:]).symlink_to(Path(name).readlink())
        elif Path(name).is_dir():
            (folder / name[1:]).mkdir()
    for source in _chosen():
        _copy(source, folder / source.relative_to("/"))
    for link, target in _LINKS.items():
        (folder / link).symlink_to(target)
    for file in ("passwd", "group"):
        (folder / "etc" / file).write_text(_without_people(Path("/etc") / file))


def _copy(source: Path, target: Path) -> None:
    """What everybody on the host may read."""
    mode = source.lstat().st_mode
    if stat.S_ISLNK(mode):
        target.symlink_to(source.readlink())
    elif stat.S_ISDIR(mode) and mode & 0o005 == 0o005:
        target.mkdir()
        for it in source.iterdir():
            if not any(it.match(name) for name in _PRIVATE):
                _copy(it, target / it.name)
    elif stat.S_ISREG(mode) and mode & 0o004 and source.stat().st_size <= _LARGEST:
        shutil.copyfile(source, target)
        target.chmod(mode & 0o755)


def _without_people(file: Path) -> str:
    lines = file.read_text(errors="replace").splitlines() if file.exists() else []
    kept = []
    for it in lines:
        words = it.split(":")
        if len(words) > 3 and words[2].isdigit() and not _FIRST_PERSON <= int(words[2]) != _NOBODY:
            kept.append(":".join(["x" if place == 1 else word for place, word in enumerate(words)]))
    return "".join(f"{it}\n" for it in kept)


def _name_applets(folder: Path) -> None:
    programs = folder / "skiff" / "bin"
    programs.mkdir(parents=True)
    for it in (folder / "skiff", programs):
        it.chmod(0o755)
    busybox = shutil.which("busybox")
    if busybox:
        listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout
        for name in listed.split():
            (programs / name).symlink_to(busybox)
