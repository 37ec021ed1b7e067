"""How does the API learn how a pod is doing? Its status is written whenever something of it is different."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from skiff.api import Api, Object
from skiff.errors import ApiError
from skiff.kinds import PODS
from skiff.log import Log

_log = Log()
#: What happens together is told together.
_TOGETHER_S = 0.01
#: What the API refuses for now is told again after so long.
_AGAIN_S = 1.0


class Telling:
    """Of one pod. ``status`` makes the new status from the object as it is stored."""

    def __init__(self, api: Api, pod: Object, status: Callable[[Object], Object]) -> None:
        self._api, self._status, metadata = api, status, pod["metadata"]
        self._namespace, self._name, self._uid = metadata["namespace"], metadata["name"], metadata["uid"]
        self._dirty = asyncio.Event()

    def changed(self) -> None:
        """Something is different."""
        self._dirty.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._dirty.set()
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_TOGETHER_S)
            self._dirty.clear()
            try:
                await self.write()
            except ApiError as refused:
                if refused.code == 409:  # somebody was quicker: look again
                    self._dirty.set()
                elif refused.code != 404:
                    _log.warning("a status was refused", pod=self._name, reason=refused.message)
                if refused.code >= 500:  # nothing may happen to the pod that would make us look again
                    self._dirty.set()
                    await asyncio.sleep(_AGAIN_S)
            except Exception:  # noqa: BLE001  # a pod whose status stands still would never be ready
                _log.exception("a status could not be written", pod=self._name)
                self._dirty.set()
                await asyncio.sleep(_AGAIN_S)

    async def write(self) -> None:
        """Now; ApiError when it is refused."""
        stored = await self._api.get(PODS, self._namespace, self._name)
        if stored["metadata"]["uid"] == self._uid:
            changed = {"status": self._status(stored)}
            await self._api.patch(PODS, self._namespace, self._name, changed, subresource="status")
