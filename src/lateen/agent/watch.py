"""Whether Envoy still listens: one that was told to drain lives on, and serves nobody for ever."""

from __future__ import annotations

import asyncio
import math

from lateen.agent.readiness import Readiness
from lateen.envoy import wellknown

#: How often it is asked, and how long it may take to take a connection, seconds.
_EVERY_S, _PATIENCE_S = 2.0, 1.0
#: A pod that is ending is drained by hooks as well, and gone after its grace. Where that is not known, this.
_GRACE_S = 60.0


async def deaf(readiness: Readiness, grace_s: float) -> None:
    """Return when Envoy was ready once, and then did not listen for as long as a pod may take to end.

    Asked is the port that Envoy opens by itself and closes only when it is told to close all.
    """
    loop = asyncio.get_running_loop()
    grace_s = min(grace_s, 3600.0) if grace_s < math.inf else _GRACE_S
    listened, last = False, loop.time()
    while True:
        if readiness.draining:
            last = loop.time()  # it is we who close them
        elif await _listens(wellknown.READY_PORT):
            listened, last = True, loop.time()
        elif (listened or readiness.ever) and loop.time() - last > grace_s:
            return
        await asyncio.sleep(min(_EVERY_S, grace_s))


async def _listens(port: int) -> bool:
    """Refused is no; whatever else happens is a busy Envoy, which is none of our business."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    writer.close()
    return True
