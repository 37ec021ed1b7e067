"""Who is the first process of a pod whose containers see each other? One that does nothing, and outlives them all.

It is run as containers are, by a guardian, so that it needs no daemon either; with nobody's rights and an empty root for
others to look into. What is orphaned becomes its child, and the kernel buries that because SIGCHLD is ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from skiff.node.environment import CannotStartError
from skiff.node.process import Place, Process
from skiff.node.records import PAUSE
from skiff.node.root import PATH, Among, Plan

_SPEC = {"name": PAUSE}
_NOBODY = 65535  # as that of Kubernetes
_SECURITY = {
    "runAsUser": _NOBODY, "runAsGroup": _NOBODY, "capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
}  # fmt: skip
_ARGV = ["/usr/bin/env", "--ignore-signal=CHLD", "/bin/sleep", "infinity"]


class House(Place, Protocol):
    """What it needs of its pod."""

    netns: str

    def hostname(self) -> str: ...


class Pause:
    """That of one pod; ``lost`` is called when it ends though nobody asked it to."""

    def __init__(self, house: House, lost: Callable[[], None]) -> None:
        self._house, self._lost = house, lost
        self._process: Process | None = None
        self._watching: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """OSError when the machine refuses."""
        house = self._house
        plan = Plan(
            house.netns, house.hostname(), _ARGV, {"PATH": PATH}, "/", [], _SECURITY, applets=False, commands={},
            scratch=house.folder / "roots" / PAUSE, home=house.home, groups=house.limits.fresh(_SPEC),
        )  # fmt: skip
        process = Process.new(house, _SPEC, plan, 0, {}, 0)
        await process.begin(plan)
        self._process = process
        self._watch()
        if not process.running:
            raise OSError("the first process of the pod did not begin")

    def find(self) -> None:
        """An earlier daemon's goes on, or is lost."""
        self._process = Process.of(self._house, _SPEC)
        self._watch()

    def _watch(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._watched())

    async def _watched(self) -> None:
        if self._process:
            await self._process.go_on(self._house.folder / "roots" / PAUSE)
            await self._process.hear()
        self._lost()

    def among(self) -> Among:
        """Its processes; CannotStartError when they are gone."""
        with contextlib.suppress(ProcessLookupError):
            if self._process:
                return self._process.among()
        raise CannotStartError("the pod's process namespace is gone")

    def leave(self) -> None:
        """It goes on without us."""
        self._forget_watch()
        if self._process:
            self._process.forget()

    async def end(self) -> None:
        """Nobody needs it any more: whoever is left in there ends with it."""
        self._forget_watch()
        if self._process:
            await self._process.release()
            self._process = None

    def _forget_watch(self) -> None:
        if self._watching:
            self._watching.cancel()
            self._watching = None
