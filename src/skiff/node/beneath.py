"""How does root use a folder that a container writes to? By descriptors, one step at a time, never by a name twice.

A container may at any moment put a link where a folder was. What is opened here stays what it was, and never leads out.
"""

from __future__ import annotations

import errno
import os

from skiff.node import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class LeadsOutError(OSError):
    """A link in the way leads out of the folder, or was put there this moment."""


def open_beneath(folder: int, path: str, flags: int = os.O_PATH) -> int:
    """A descriptor of what lies at ``path`` in the folder; links may be followed as long as they stay in there."""
    try:
        return syscalls.open_at(folder, path.strip("/") or ".", flags, syscalls.BENEATH)
    except OSError as wrong:
        if wrong.errno in (errno.EXDEV, errno.ELOOP, errno.EAGAIN):
            raise LeadsOutError(wrong.errno, "leads out of its volume", path) from wrong
        raise


def make_beneath(folder: int, path: str, mode: int = 0o755, *, file: bool = False) -> int:
    """The same, made when it is missing: folders, or folders and a file at their end."""
    return _make(path, mode, file, lambda part: open_beneath(folder, part))


def make_in_root(root: int, path: str, *, file: bool = False) -> int:
    """As ``make_beneath``, but links mean what they mean to those whose root the folder is."""
    return _make(
        path, 0o755, file, lambda part: syscalls.open_at(root, part or ".", os.O_PATH, syscalls.IN_ROOT)
    )


def _make(path: str, mode: int, file: bool, opened: Callable[[str], int]) -> int:
    steps = [it for it in path.split("/") if it not in ("", ".")]
    found = opened("")
    for number, name in enumerate(steps, 1):
        parent, part = found, "/".join(steps[:number])
        try:
            try:
                found = opened(part)
            except FileNotFoundError:
                _make_one(parent, name, mode, file=file and number == len(steps))
                found = opened(part)
        finally:
            os.close(parent)
    return found


def _make_one(parent: int, name: str, mode: int, *, file: bool) -> None:
    if name == "..":
        raise LeadsOutError(errno.EXDEV, "leads out of its volume", name)
    try:
        if file:
            how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            made = os.open(name, how, 0o644, dir_fd=parent)
        else:
            os.mkdir(name, dir_fd=parent)
            made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileExistsError:  # somebody else was quicker
        return
    try:
        os.fchmod(made, 0o644 if file else mode)
    finally:
        os.close(made)
