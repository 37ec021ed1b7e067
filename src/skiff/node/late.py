"""Which containers come to a pod that runs already? Ephemeral ones, to look at the others: once, and never again.

https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/
"""

from __future__ import annotations

import asyncio

from skiff.api import Object
from skiff.log import Log
from skiff.node import statuses
from skiff.node.running import Container, House

_log = Log()


class LateContainer(Container):
    """One of them. ``told`` is its status as an earlier daemon wrote it."""

    def __init__(self, house: House, spec: Object, told: Object | None) -> None:
        super().__init__(house, spec, statuses.Before(0, {}))
        self.begun = False
        if told and (ended := statuses.before(told).last):  # it ran, and does not run twice
            self.begun, self.state, self._id = True, ended, told["containerID"].removeprefix("skiff://")
            self.ended.set()

    def find(self, ready: str) -> None:
        """What an earlier daemon left of it goes on."""
        super().find(ready)
        self.begun = self.begun and self._found is None

    def policy(self) -> str:
        """Whatever its pod's is."""
        return "Never"

    def status(self) -> Object:
        """Nobody waits for it to be ready."""
        return {name: it for name, it in super().status().items() if name != "started"} | {"ready": False}


class Late:
    """Those of one pod."""

    def __init__(self, house: House) -> None:
        self.containers: list[LateContainer] = []
        self._house, self._news = house, asyncio.Event()
        self.look()

    def look(self) -> None:
        """The object changed: what is new in it is to begin."""
        pod, known = self._house.pod, {it.name for it in self.containers}
        told = {it["name"]: it for it in (pod.get("status") or {}).get("ephemeralContainerStatuses") or ()}
        for spec in pod["spec"].get("ephemeralContainers") or ():
            if spec["name"] not in known:
                self.containers.append(LateContainer(self._house, spec, told.get(spec["name"])))
                self._news.set()

    async def run(self) -> None:
        """Until cancelled, when all of them have ended."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._news.wait()
                self._news.clear()
                for it in self.containers:
                    if not it.begun:
                        it.begun = True
                        it.creating()
                        tasks.create_task(self._lived(it))
                self._house.changed()

    async def _lived(self, it: LateContainer) -> None:
        try:
            await it.live()
        except Exception:  # noqa: BLE001  # one's trouble is no other's
            _log.exception("a container that came later could not live", container=it.name)

    async def stop(self, grace: float) -> None:
        """All of them, for good."""
        await asyncio.gather(*(it.stop(grace) for it in self.containers))
