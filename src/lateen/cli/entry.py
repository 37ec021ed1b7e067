"""The door of the command: Ctrl-C while everything is being imported ends it in one line, as later on."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Import and run ``lateen.cli.main``."""
    usual = signal.signal(signal.SIGINT, _ended)
    from lateen.cli import main as command

    signal.signal(signal.SIGINT, usual)
    command.main()


def _ended(_signal: int, _frame: FrameType | None) -> None:
    """Half an import cannot be unwound: nothing was begun, so the process may end at once."""
    sys.stderr.write("interrupted\n")
    sys.stderr.flush()
    os._exit(130)
