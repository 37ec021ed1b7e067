"""What of the host does an image show beside the programs of /usr? The folders of its own programs, and what it names."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from skiff.node import skeleton

#: Whole of somebody's, or of everybody: of a program that lies right in there only the program is shown.
_WHOLE = "/ /boot /dev /etc /home /media /mnt /opt /proc /root /run /srv /sys /tmp /var /var/lib /var/tmp"
_PEOPLE = ("/home",)


@functools.cache
def of_python() -> tuple[str, ...]:
    """What the running interpreter needs: its environment, its packages, and the sources that it runs."""
    wanted = {Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve().parents[2]}
    wanted.add(Path(os.path.realpath(sys.executable)).parent.parent)
    wanted |= {Path(it).resolve() for it in sys.path if it and Path(it).is_dir()} - {Path("/")}
    return outermost(map(str, wanted))


def of_words(words: Iterable[str]) -> set[str]:
    """For each path of a program: its folder; the folder above when that is called ``bin``."""
    found = set()
    for word in words:
        for path in {word, os.path.realpath(word)} if word.startswith("/") else ():
            if Path(path).is_file():
                found.add(_around(Path(path)))
    return found


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Those that are there, that containers do not see anyway, and that lie in no other one."""
    trees = skeleton.trees()
    seen = {os.path.normpath(it) for it in paths if Path(it).exists()} - {"/"}
    seen = {it for it in seen if not any(f"{it}/".startswith(f"{tree}/") for tree in trees)}
    return tuple(sorted(it for it in seen if not any(it.startswith(f"{other}/") for other in seen)))


def _around(file: Path) -> str:
    folder = file.parent
    if folder.name in ("bin", "sbin") and not _is_whole(folder.parent):
        return str(folder.parent)
    return str(file if _is_whole(folder) else folder)


def _is_whole(folder: Path) -> bool:
    return str(folder) in _WHOLE.split() or str(folder.parent) in _PEOPLE
