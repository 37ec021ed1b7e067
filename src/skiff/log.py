"""What does the daemon log, and where? Lines of ``key=value`` to stderr: a file that must not grow for ever, on a disk that
may be full. A library for it would take 6 MB of memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

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
                    shutil.copy(self._path, self._path.with_suffix(".log.old"))
                os.ftruncate(number, 0)  # opened for appending: the next line is the first


class _Output(Protocol):
    def write(self, text: str, /) -> int: ...
    def flush(self) -> None: ...


class Log:
    """Says what happened: ``Log().info("serving", port=6443)``. All of them write to the same place."""

    output: _Output | None = None  # stderr, until the daemon says otherwise

    def info(self, event: str, **about: object) -> None:
        """What is good to know later."""
        self._say("info", event, about)

    def warning(self, event: str, **about: object) -> None:
        """What may be wrong."""
        self._say("warning", event, about)

    def error(self, event: str, **about: object) -> None:
        """What is wrong."""
        self._say("error", event, about)

    def exception(self, event: str, **about: object) -> None:
        """A bug: with the traceback of what is being handled."""
        self._say("error", event, {**about, "exception": traceback.format_exc().rstrip()})

    def _say(self, level: str, event: str, about: dict[str, object]) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds")[:26] + "Z"
        words = {"timestamp": now, "level": level, "event": event, **about}
        line = " ".join(f"{key}={_written(value)}" for key, value in words.items())
        output = Log.output or sys.stderr
        output.write(line + "\n")
        output.flush()


def _written(value: object) -> str:
    """As logfmt has it: in quotes where it would not be one word of one line."""
    text = str(value)
    if text and text.isprintable() and not any(it in ' "=\\' for it in text):
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + "".join(it if it.isprintable() else f"\\x{ord(it):02x}" for it in text) + '"'
