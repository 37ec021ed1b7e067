"""When are the node's packet rules made anew? A moment after something changed; what was refused is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Never

from skiff.log import Log
from skiff.net.kernel import KernelRefusedError

_log = Log()

#: Changes that come together become one set of rules.
_TOGETHER_S = 0.02
#: When rules were refused, they are tried again.
_AGAIN_S = 2.0


async def keep(changed: asyncio.Event, apply: Callable[[], Awaitable[None]], what: str) -> Never:
    """Until cancelled: apply once, and whenever the event is set. ``what`` names the rules in the log."""
    changed.set()
    while True:
        await changed.wait()
        await asyncio.sleep(_TOGETHER_S)
        changed.clear()
        try:
            await apply()
        except KernelRefusedError as refused:  # those before stay in force
            _log.error(f"{what} were refused", reason=str(refused)[:2000])
            asyncio.get_running_loop().call_later(_AGAIN_S, changed.set)
        except Exception:  # noqa: BLE001  # what somebody wrote into an object must not stop the node
            _log.exception(f"{what} could not be made")
            asyncio.get_running_loop().call_later(_AGAIN_S, changed.set)
