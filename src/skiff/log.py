"""Where does the daemon's log go? To stderr, which is a file that must not grow for ever, on a disk that may be full."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from pathlib import Path

#: In skiff's folder.
NAME = "daemon.log"
LARGEST = 10 * 1024 * 1024


class BoundedLog:
    """A text file over stderr. When stderr is ``path`` and too large, it is begun anew; one older part is kept."""

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        self._path, self._largest = path, largest

    def write(self, text: str) -> int:
        """What cannot be written is lost: nothing else may stop because of it."""
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """After every message."""
        with contextlib.suppress(OSError):
            sys.stderr.flush()
            number = sys.stderr.fileno()
            held = os.fstat(number)
            if (
                stat.S_ISREG(held.st_mode)
                and held.st_size > self._largest
                and self._path.samefile(f"/dev/fd/{number}")
            ):
                with contextlib.suppress(OSError):
                    shutil.copyfile(self._path, self._path.with_suffix(".log.old"))
                os.ftruncate(number, 0)  # opened for appending: the next line is the first
