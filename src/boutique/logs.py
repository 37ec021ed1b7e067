"""What does a service tell its operator? One JSON object a line on standard output."""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def say(severity: str, message: str, **more: Any) -> None:
    """Write a line. A closed standard output ends nothing."""
    moment = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03d}Z"
    line = json.dumps({"timestamp": stamp, "severity": severity, "message": message, **more}, default=str)
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        return
