"""How is something that differs written? One at a time, each thing once however often it is looked at, and again on failure."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec
import structlog

from lateen.kube.client import KubeError
from lateen.observe import metrics

_log = structlog.get_logger("lateen.controllers")

_FIRST_AGAIN_S, _LONGEST_AGAIN_S = 1.0, 60.0


class Mender:
    """A queue of names. ``mend`` looks at what is now, and writes it if it must."""

    def __init__(self, what: str, mend: Callable[[str], Awaitable[None]]) -> None:
        self._what, self._mend = what, mend
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()
        self._failures: dict[str, int] = {}

    def look(self, name: str) -> None:
        """It may differ."""
        if name not in self._waiting:
            self._waiting.add(name)
            self._queue.put_nowait(name)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            name = await self._queue.get()
            self._waiting.discard(name)
            try:
                await self._mend(name)
                self._failures.pop(name, None)
            except (KubeError, aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError) as wrong:
                self._again(name, wrong)
            except Exception as bug:  # noqa: BLE001  # the others are written all the same
                metrics.INTERNAL_ERRORS.inc()
                _log.exception(f"the {self._what} could not be written: a bug", name=name)
                self._again(name, bug)

    def _again(self, name: str, wrong: Exception) -> None:
        if isinstance(wrong, KubeError) and wrong.code in (404, 409):
            return  # it is gone, or it changed meanwhile: then it is heard of again
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        again_s = min(_FIRST_AGAIN_S * 2 ** min(failures - 1, 10), _LONGEST_AGAIN_S)
        if failures == 1:
            _log.warning(f"the {self._what} will be written again", name=name, reason=str(wrong))
        asyncio.get_running_loop().call_later(again_s * random.uniform(0.5, 1.0), self.look, name)
