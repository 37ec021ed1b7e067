"""Who reads what the demo says? A terminal or a pipe, until it is closed: then the demo ends, and cleans up in silence."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from typing import TextIO


class NobodyReadsError(Exception):
    """The terminal or the pipe was closed."""


class Output(io.TextIOBase):
    """Raises NobodyReadsError once, unless ``forgiving``: cleaning up must not fail for want of a reader."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._silent = False
        self.forgiving = False

    def write(self, text: str) -> int:
        """See ``io.TextIOBase``."""
        self._try(lambda: self._file.write(text))
        return len(text)

    def flush(self) -> None:
        """See ``io.IOBase``."""
        self._try(self._file.flush)

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self._file.isatty()

    def fileno(self) -> int:
        """The file's own: the width of a terminal is asked by it."""
        return self._file.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The file's own."""
        return self._file.encoding

    def _try(self, say: Callable[[], object]) -> None:
        if self._silent:
            return
        try:
            say()
        except OSError as closed:
            self._silent = True
            with contextlib.suppress(OSError):  # Python writes what is still in the buffer when it ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._file.fileno())
            if not self.forgiving:
                raise NobodyReadsError from closed
