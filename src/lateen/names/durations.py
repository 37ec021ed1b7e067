"""How long? Durations as users write them (``1h30m``, ``1.5s``, ``100ms``), in nanoseconds so that they are exact."""

from __future__ import annotations

import re
from decimal import Decimal

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}

SECOND = 10**9
#: What protobuf's durations hold: Envoy would refuse all that comes together with a longer one.
_LONGEST = 315_576_000_000 * SECOND


def parse(text: str) -> int:
    """Nanoseconds of a Go duration; raises ValueError with the text in it."""
    rest = text.lstrip("+")
    if rest == "0":
        return 0
    total, position = Decimal(0), 0
    for part in _PART.finditer(rest):
        if part.start() != position:
            break
        total += Decimal(part[1]) * _UNITS[part[2]]
        position = part.end()
    if not rest or position != len(rest):
        raise ValueError(f'"{text}" is not a duration such as 1s, 100ms or 1h30m')
    if total > _LONGEST:
        raise ValueError(f'"{text}" is longer than 10000 years')
    return int(total)


def written(nanoseconds: int) -> str:
    """As protobuf's JSON writes it: ``1.5s``."""
    seconds = Decimal(nanoseconds) / SECOND
    return f"{seconds.normalize():f}s"
