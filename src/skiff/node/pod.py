"""How does one pod live? Network, volumes, init containers in order, sidecars, containers, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from typing import Any

from skiff.api import Object
from skiff.errors import ApiError
from skiff.log import Log
from skiff.names import NODE_IP
from skiff.net.kernel import KernelRefusedError, set_inside
from skiff.net.namespace import inode_of
from skiff.node import etc, limits, records, removal, statuses
from skiff.node.environment import CannotStartError
from skiff.node.host import Host
from skiff.node.images import Image
from skiff.node.late import Late
from skiff.node.mounts import Mounts
from skiff.node.pause import Pause
from skiff.node.planning import planned
from skiff.node.records import Sandbox, folder_of
from skiff.node.root import Among, Plan
from skiff.node.running import Container
from skiff.node.telling import Telling

_log = Log()

#: What a sidecar is left at least, and what containers get when the whole node stops.
_LEAST_S = 2.0
#: The longest wait before the kernel is asked again for what it refused.
_MOST_S = 30.0


class PodWorker:
    """One pod from the moment it is bound to this node until it is gone."""

    def __init__(self, host: Host, pod: Object) -> None:
        self.host, self.pod, self.home = host, pod, host.settings.home
        metadata = pod["metadata"]
        self.namespace, self.name, self.uid = metadata["namespace"], metadata["name"], metadata["uid"]
        self.folder = folder_of(self.home, pod)
        self.ip = self.netns = ""
        self.over = False
        self.late = Late(self)
        self._contain(statuses.earlier(pod))
        self._begun = (pod.get("status") or {}).get("startTime") or statuses.stamp()
        self._telling = Telling(host.api, pod, self._status)
        self._updated, self._deleted, self._vanished = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._lost, self._filled = asyncio.Event(), asyncio.Event()  # its place in the network; its volumes
        self._inode = 0
        self._failed: tuple[str, str] | None = None
        #: Its end had begun before: it gets what is left of its grace.
        self._resumed = bool(metadata.get("deletionTimestamp"))
        self.limits = limits.OfPod(host.settings, self.uid)
        self._pause = Pause(self, self._lose) if pod["spec"].get("shareProcessNamespace") else None
        self._find()
        self.mounts = Mounts(host.api, host.token, self.folder, self.home, lambda: self.pod)

    def _contain(self, before: dict[str, statuses.Before]) -> None:
        """Its containers, none of which runs yet."""
        spec, unborn = self.pod["spec"], statuses.Before(0, {})
        self.inits = [
            Container(self, it, before.get(it["name"], unborn), sidecar=statuses.is_sidecar(it), init=True)
            for it in spec.get("initContainers") or ()
        ]
        self.mains = [Container(self, it, before.get(it["name"], unborn)) for it in spec["containers"]]
        self.sidecars = [it for it in self.inits if it.sidecar]
        self.initialized = False

    def _find(self) -> None:
        """What an earlier daemon left of it goes on, if its place in the network is still there."""
        place = records.sandbox(self.folder)
        if place is None or not self.host.network.holds(place.name, place.ip, place.inode):
            return
        self.netns, self.ip, self._inode = place.name, place.ip, place.inode
        ready = statuses.ready_runs(self.pod)
        for it in self._every():
            it.find(ready.get(it.name, ""))
        if self._pause:
            self._pause.find()
        self.initialized = statuses.initialized(self.pod)

    # --- told from outside ---------------------------------------------------------------------

    def update(self, pod: Object) -> None:
        """The object changed."""
        self.pod = statuses.addressed(pod, self.ip)
        if pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()
        self._updated.set()
        if not self.over:
            self.late.look()
        if pod["spec"].get("readinessGates"):
            self.changed()

    def vanish(self) -> None:
        """The object is gone: deleted by force, or finished before."""
        self._vanished.set()
        self._deleted.set()

    def look(self, links: set[str]) -> None:
        """Is its place in the network still there?"""
        held = self.host.network.holds(self.netns, self.ip, self._inode, links)
        if self.netns and not held:
            self._lose()

    def _lose(self) -> None:
        if not self.over:
            self._lost.set()

    def changed(self) -> None:
        """Something of the status is different."""
        self._telling.changed()

    async def event(self, kind: str, reason: str, message: str) -> None:
        await self.host.api.event(self.pod, kind, reason, message, source="kubelet")

    def container(self, name: str) -> Container:
        """By name; ApiError 404 when there is none."""
        found = next((it for it in self._every() if it.name == name), None)
        if found is None:
            raise ApiError(404, "NotFound", f"container {name} not found in pod {self.name}")
        return found

    def _every(self) -> list[Container]:
        return [*self.inits, *self.mains, *self.late.containers]

    def running(self) -> list[Container]:
        """Those that run now."""
        return [it for it in self._every() if it.running]

    # --- life ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole life. Whatever goes wrong, everything of the pod is taken away at the end."""
        self.update(self.pod)
        if not self.netns:  # nothing goes on; what may still run has lost its place
            await self._forget()
            if self._deleted.is_set():
                return await self._gone()
        grace = _LEAST_S  # when the node stops
        try:
            await self._stay()
            grace = 0.0
        finally:
            if self.host.leaving:
                for it in self._every():
                    it.leave()
                if self._pause:
                    self._pause.leave()
            else:
                await self._clear(grace)
        return await self._gone()

    async def _stay(self) -> None:
        """Until it has ended because it was deleted."""
        loop = asyncio.get_running_loop()
        works: list[asyncio.Task[Any]] = []
        try:
            # It ran before: nobody shall send it anything yet.
            if not self.netns and (self.pod.get("status") or {}).get("podIP"):
                with contextlib.suppress(ApiError):
                    await self._telling.write()
            while self.netns or await self._has_place():
                life, deleted = loop.create_task(self._live()), loop.create_task(self._deleted.wait())
                lost = loop.create_task(self._lost.wait())
                works = [life, deleted, lost, *(works[3:] or self._chores())]
                await asyncio.wait([life, deleted, lost], return_when=asyncio.FIRST_COMPLETED)
                if life.done() and not life.cancelled() and (wrong := life.exception()):
                    who = f"{self.namespace}/{self.name}"
                    _log.error("a pod could not live", pod=who, reason=repr(wrong))
                await asyncio.wait([deleted, lost], return_when=asyncio.FIRST_COMPLETED)
                if lost.done() and not deleted.done() and await self._lose_place(life):
                    deleted.cancel()
                    continue
                await deleted
                return await self._end_or_vanish()
        finally:
            for it in works:
                it.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    def _chores(self) -> list[asyncio.Task[Any]]:
        works = (self._telling.run(), self.mounts.keep_fresh(), self.late.run(), self._expire())
        return [asyncio.get_running_loop().create_task(it) for it in works]

    async def _lose_place(self, life: asyncio.Task[None]) -> bool:
        """Somebody removed its namespace or link: it begins again in another one, as with a kubelet. False: it is over."""
        await self.event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        every = self._every()
        await asyncio.gather(*(it.stop(self._grace()) for it in every))
        if self.pod["spec"].get("restartPolicy") == "Never":
            await asyncio.wait([life])
            return False
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        await asyncio.gather(*(it.release() for it in every))
        await self._leave_network()
        self._contain({it.name: statuses.before(it.status()) for it in every})
        self._lost.clear()
        self.changed()
        return True

    async def _forget(self) -> None:
        """End what is left of another daemon's containers."""
        await asyncio.to_thread(records.kill, self.folder)
        records.forget(self.folder)

    async def _has_place(self) -> bool:
        """Network and files, at last: what a busy machine refuses now it may grant in a moment. False: deleted before."""
        wait_s = 1.0
        while not self._deleted.is_set():
            try:
                async with self.host.setting_up:
                    await self._set_up()
                return True
            except (CannotStartError, KernelRefusedError, OSError, RuntimeError) as refused:
                await self._leave_network()
                await self.event(
                    "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {refused}"
                )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._deleted.wait(), wait_s)
            wait_s = min(2 * wait_s, _MOST_S)
        return False

    async def _set_up(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.pod["spec"].get("hostNetwork"):
            self.netns, self.ip = self.host.network.node, NODE_IP
        else:
            self.netns, self.ip = await self.host.network.add_pod()
            for it in (self.pod["spec"].get("securityContext") or {}).get("sysctls") or ():
                try:
                    await set_inside(self.netns, it["name"], it["value"])
                except KernelRefusedError as refused:
                    await self.event("Warning", "SysctlForbidden", str(refused))
        if self._pause:
            await self._pause.begin()
        etc.write(self.pod, self.ip, self.folder / "etc", self.host.settings)
        self._inode = inode_of(self.netns)
        records.note_sandbox(self.folder, Sandbox(self.netns, self.ip, self._inode))
        self.pod = statuses.addressed(self.pod, self.ip)

    def hostname(self) -> str:
        """What the pod's containers call themselves."""
        return etc.hostname(self.pod, self.host.settings)

    async def _live(self) -> None:
        if not self.inits:
            for it in self.mains:
                it.creating()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fill())
            if not await self._initialize(tasks):
                return await self._complete()
            self.initialized = True
            for it in self.mains:
                it.creating()
            self.changed()
            lives = []
            for it in self.mains:
                lives.append(tasks.create_task(it.live()))
                if (it.spec.get("lifecycle") or {}).get("postStart"):
                    await _either(it.launched.wait(), lives[-1])
            await asyncio.gather(*lives)
            self.changed()
            # By its restart policy; a pod that is meant to run for ever gets here only when it is deleted.
            return await self._complete()

    async def _complete(self) -> None:
        """What serves the others, or looks at them, ends after them."""
        await asyncio.gather(
            self._stop_sidecars(time.monotonic() + self._grace()), self.late.stop(self._grace())
        )
        self.over = True
        self.changed()

    def _grace(self) -> float:
        return statuses.grace(self.pod)

    async def _initialize(self, tasks: asyncio.TaskGroup) -> bool:
        """The init containers one after the other; False when one failed for good. Sidecars stay."""
        for it in self.inits:
            if it.sidecar:
                life = tasks.create_task(it.live())
                await _either(it.launched.wait(), life)
            elif await it.live() != 0:
                return False
            else:
                it.ready = True
        return True

    async def _end_or_vanish(self) -> None:
        """The orderly end, cut short when somebody removes the object meanwhile."""
        ending = asyncio.ensure_future(self._end())
        try:
            await _either(self._vanished.wait(), ending)
        finally:
            if not ending.done():
                ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)

    async def _end(self) -> None:
        grace = statuses.grace_of_deletion(self.pod, resumed=self._resumed)
        self.changed()
        end = time.monotonic() + grace
        await self.host.withdrawn(self.ip)
        await asyncio.gather(
            *(it.stop(grace) for it in (*self.mains, *(it for it in self.inits if not it.sidecar))),
            *(it.prepare(grace) for it in self.sidecars), self.late.stop(grace),
        )  # fmt: skip
        await self._stop_sidecars(end)

    async def _stop_sidecars(self, end: float) -> None:
        """In reverse, after those they serve; within what is left of the grace, and two seconds at least."""
        for it in reversed(self.sidecars):
            await it.stop(max(end - time.monotonic(), _LEAST_S))

    async def _clear(self, grace: float) -> None:
        await asyncio.gather(*(it.stop(grace) for it in self.mains), self.late.stop(grace))
        await asyncio.gather(*(it.stop(grace) for it in self.inits))
        await asyncio.gather(*(it.release() for it in self._every()))
        await self.mounts.clear()
        self.limits.forget()
        await self._leave_network()

    async def _leave_network(self) -> None:
        if self._pause:
            await self._pause.end()
        if self.netns and self.netns != self.host.network.node:
            await self.host.network.remove_pod(self.netns, self.ip)
        self.netns = self.ip = ""
        await self._forget()

    async def _gone(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        await removal.remove(self.host.api, self.namespace, self.name, self.uid)

    # --- status --------------------------------------------------------------------------------

    def _status(self, stored: Object) -> Object:
        inits, mains, lates = (
            [it.status() for it in several] for several in (self.inits, self.mains, self.late.containers)
        )
        how = statuses.Life(self.initialized, self.over, self.ip, self._begun, self._failed)
        return statuses.status(stored, inits, mains, lates, how)

    async def _expire(self) -> None:
        """End it when its time is over."""
        while (left := statuses.left(self.pod, self._begun)) is None or left > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._updated.wait(), left)
            self._updated.clear()
        if self.over:
            return
        self._failed = statuses.EXPIRED
        await self.event("Normal", *statuses.EXPIRED)
        await asyncio.gather(*(it.stop(self._grace()) for it in self._every()))

    # --- containers ----------------------------------------------------------------------------

    async def _fill(self) -> None:
        await self.mounts.fill_at_last(lambda said: self.event("Warning", "FailedMount", said))
        self._filled.set()

    async def plan(self, spec: Object, image: Image) -> Plan:
        """Everything needed to start a container; CannotStartError when it refers to what is not there."""
        await self._filled.wait()
        return await planned(self, spec, image, self.mounts)

    def among(self, spec: Object) -> Among | None:
        """Whose processes a container sees; None: its own. CannotStartError when they are not there."""
        target = spec.get("targetContainerName")
        if self.pod["spec"].get("hostPID"):
            return Among()
        if self._pause:
            return self._pause.among()
        try:
            return self.container(target).process.among() if target else None
        except ProcessLookupError as gone:
            raise CannotStartError(f"unable to find target container {target}") from gone


async def _either(first: Any, second: asyncio.Task[Any]) -> None:
    """Until one of the two is done; what waits for the first is taken away."""
    waiting = asyncio.ensure_future(first)
    try:
        await asyncio.wait([waiting, second], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
