"""Work that goes on for ever, whatever goes wrong in it: a bug in one part must not end the others."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Never

import structlog
from prometheus_client import Counter

_log = structlog.get_logger("lateen")

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
#: Work that lasted so long had got over what ended it.
_WORKED_S = 60.0

RESTARTS = Counter(
    "lateen_restarts", "Parts of the control plane that failed and were started again: a bug.", ["part"]
)


async def kept(part: str, work: Callable[[], Awaitable[Any]]) -> Never:
    """Run ``work`` again whenever it ends, until cancelled; what it raised is logged and counted."""
    wait = _FIRST_WAIT_S
    while True:
        began = time.monotonic()
        try:
            await work()
            _log.error("a part of the control plane ended, and is started again", part=part)
        except Exception:  # noqa: BLE001  # the boundary between parts
            _log.exception(
                "a part of the control plane failed, and is started again: this is a bug", part=part
            )
        RESTARTS.labels(part).inc()
        if time.monotonic() - began > _WORKED_S:
            wait = _FIRST_WAIT_S
        await asyncio.sleep(wait * random.uniform(0.5, 1.5))
        wait = min(wait * 2, _LONGEST_WAIT_S)
