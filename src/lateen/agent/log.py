"""What does the agent tell? Lines in the form of Istio's, beside those of Envoy in the same log."""

from __future__ import annotations

import logging
import sys
import time

_FORM = "%(asctime)s.%(msecs)03dZ\t%(levelname)s\t%(name)s\t%(message)s"


def start(levels: str) -> None:
    """``default:info`` or ``info,http:debug``: the agent has one level, that of ``default``."""
    chosen = "info"
    for part in levels.split(","):
        scope, colon, level = part.strip().partition(":")
        if scope == "default" or (scope and not colon):
            chosen = level or scope
    numbers = {"debug": logging.DEBUG, "warn": logging.WARNING, "warning": logging.WARNING, "error": logging.ERROR,
               "fatal": logging.CRITICAL, "none": logging.CRITICAL + 1}  # fmt: skip
    for number, name in ((10, "debug"), (20, "info"), (30, "warn"), (40, "error"), (50, "fatal")):
        logging.addLevelName(number, name)
    formatter = logging.Formatter(_FORM, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=numbers.get(chosen, logging.INFO), handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)
