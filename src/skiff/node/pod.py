"""How does one pod live? Network, volumes, init containers in order, sidecars, containers, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from typing import Any

from skiff.api import Object
from skiff.errors import ApiError
from skiff.kinds import PODS
from skiff.log import Log
from skiff.names import NODE_IP
from skiff.net.kernel import KernelRefusedError, run
from skiff.net.namespace import inode_of
from skiff.node import etc, limits, records, removal, statuses
from skiff.node.environment import CannotStartError
from skiff.node.host import Host
from skiff.node.identity import security
from skiff.node.images import Image
from skiff.node.mounts import Mounts
from skiff.node.planning import program
from skiff.node.records import Sandbox, folder_of
from skiff.node.root import Plan
from skiff.node.running import Container

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
        self._contain(statuses.earlier(pod))
        self._begun = (pod.get("status") or {}).get("startTime") or statuses.stamp()
        self._dirty, self._deleted, self._vanished = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._lost, self._filled = asyncio.Event(), asyncio.Event()  # its place in the network; its volumes
        self._inode = 0
        self._find()
        self.limits = limits.OfPod(host.settings, self.uid)
        self._mounts = Mounts(host.api, host.token, self.folder, self.home, lambda: self.pod)

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
        for it in (*self.inits, *self.mains):
            it.find(ready.get(it.name, ""))
        self.initialized = statuses.initialized(self.pod)

    # --- told from outside ---------------------------------------------------------------------

    def update(self, pod: Object) -> None:
        """The object changed."""
        self.pod = self._addressed(pod)
        if pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()
        if pod["spec"].get("readinessGates"):
            self._dirty.set()

    def vanish(self) -> None:
        """The object is gone: deleted by force, or finished before."""
        self._vanished.set()
        self._deleted.set()

    def look(self, links: set[str]) -> None:
        """Is its place in the network still there?"""
        held = self.host.network.holds(self.netns, self.ip, self._inode, links)
        if self.netns and not self.over and not held:
            self._lost.set()

    def changed(self) -> None:
        """Something of the status is different."""
        self._dirty.set()

    async def event(self, kind: str, reason: str, message: str) -> None:
        await self.host.api.event(self.pod, kind, reason, message, source="kubelet")

    def container(self, name: str) -> Container:
        """By name; ApiError 404 when there is none."""
        found = next((it for it in (*self.mains, *self.inits) if it.name == name), None)
        if found is None:
            raise ApiError(404, "NotFound", f"container {name} not found in pod {self.name}")
        return found

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
                for it in (*self.inits, *self.mains):
                    it.leave()
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
                    await self._write_status()
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
        loop = asyncio.get_running_loop()
        return [loop.create_task(self._tell()), loop.create_task(self._mounts.keep_fresh())]

    async def _lose_place(self, life: asyncio.Task[None]) -> bool:
        """Somebody removed its namespace or link: it begins again in another one, as with a kubelet. False: it is over."""
        await self.event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        every = (*self.inits, *self.mains)
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
            except (KernelRefusedError, OSError, RuntimeError) as refused:
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
                    await run(
                        "ip", "netns", "exec", self.netns, "sysctl", "-qw", f"{it['name']}={it['value']}"
                    )
                except KernelRefusedError as refused:
                    await self.event("Warning", "SysctlForbidden", str(refused))
        etc.write(self.pod, self.ip, self.folder / "etc", self.host.settings)
        self._inode = inode_of(self.netns)
        records.note_sandbox(self.folder, Sandbox(self.netns, self.ip, self._inode))
        self.pod = self._addressed(self.pod)

    def _addressed(self, pod: Object) -> Object:
        """With the addresses in its status, whatever was stored so far: references to them must find them."""
        if not self.ip:
            return pod
        own = {"podIP": self.ip, "podIPs": [{"ip": self.ip}], "hostIP": NODE_IP, "hostIPs": [{"ip": NODE_IP}]}
        return {**pod, "status": {**(pod.get("status") or {}), **own}}

    def hostname(self) -> str:
        """What the pod's containers call themselves."""
        return etc.hostname(self.pod, self.host.settings)

    async def _live(self) -> None:
        if not self.inits:
            for it in self.mains:
                it.creating()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._mount())
            if not await self._initialize(tasks):
                await self._stop_sidecars(time.monotonic() + self._grace())
                self.over = True
                return self.changed()
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
            await self._stop_sidecars(time.monotonic() + self._grace())
        self.over = True
        return self.changed()

    def _grace(self) -> float:
        return float(self.pod["spec"].get("terminationGracePeriodSeconds") or 30)

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
        grace = float(self.pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        self.changed()
        end = time.monotonic() + grace
        await self.host.withdrawn(self.ip)
        await asyncio.gather(
            *(it.stop(grace) for it in (*self.mains, *(it for it in self.inits if not it.sidecar))),
            *(it.prepare(grace) for it in self.sidecars),
        )
        await self._stop_sidecars(end)

    async def _stop_sidecars(self, end: float) -> None:
        """In reverse, after those they serve; within what is left of the grace, and two seconds at least."""
        for it in reversed(self.sidecars):
            await it.stop(max(end - time.monotonic(), _LEAST_S))

    async def _clear(self, grace: float) -> None:
        await asyncio.gather(*(it.stop(grace) for it in self.mains))
        await asyncio.gather(*(it.stop(grace) for it in self.inits))
        await asyncio.gather(*(it.release() for it in (*self.mains, *self.inits)))
        await self._mounts.clear()
        self.limits.forget()
        await self._leave_network()

    async def _leave_network(self) -> None:
        if self.netns and self.netns != self.host.network.node:
            await self.host.network.remove_pod(self.netns, self.ip)
        self.netns = self.ip = ""
        await self._forget()

    async def _gone(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        await removal.remove(self.host.api, self.namespace, self.name, self.uid)

    # --- status --------------------------------------------------------------------------------

    async def _tell(self) -> None:
        self._dirty.set()
        while True:
            await self._dirty.wait()
            await asyncio.sleep(0.01)  # what happens together is told together
            self._dirty.clear()
            try:
                await self._write_status()
            except ApiError as refused:
                if refused.code == 409:  # somebody was quicker: look again
                    self._dirty.set()
                elif refused.code != 404:
                    _log.warning("a status was refused", pod=self.name, reason=refused.message)
                if (
                    refused.code >= 500
                ):  # for now: nothing may happen to the pod that would make us look again
                    self._dirty.set()
                    await asyncio.sleep(removal.AGAIN_S)
            except Exception:  # noqa: BLE001  # a pod whose status stands still would never be ready
                _log.exception("a status could not be written", pod=self.name)
                self._dirty.set()
                await asyncio.sleep(1.0)

    async def _write_status(self) -> None:
        inits, mains = [it.status() for it in self.inits], [it.status() for it in self.mains]
        stored = await self.host.api.get(PODS, self.namespace, self.name)
        if stored["metadata"]["uid"] == self.uid:
            how = statuses.Life(self.initialized, self.over, self.ip, self._begun)
            status = statuses.status(stored, inits, mains, how)
            await self.host.api.patch(
                PODS, self.namespace, self.name, {"status": status}, subresource="status"
            )

    # --- volumes -------------------------------------------------------------------------------

    async def _mount(self) -> None:
        told = ""
        while True:
            try:
                await self._mounts.fill()
                return self._filled.set()
            except (CannotStartError, ApiError, KernelRefusedError, OSError) as missing:
                if str(missing) != told:
                    told = str(missing)
                    await self.event("Warning", "FailedMount", f"MountVolume.SetUp failed: {told}")
                await asyncio.sleep(0.5)

    # --- containers ----------------------------------------------------------------------------

    async def plan(self, spec: Object, image: Image) -> Plan:
        """Everything needed to start a container; CannotStartError when it refers to what is not there."""
        await self._filled.wait()
        said = security(self.pod, spec, image.user)
        if said.get("runAsNonRoot") and not said.get("runAsUser"):
            raise CannotStartError(
                "container's runAsUser breaks non-root policy "
                f'(pod: "{self.namespace}/{self.name}", container: {spec["name"]})'
            )
        argv, env = program(
            self.pod, spec, image, said, self.hostname(), await self._mounts.found(),
            self.host.services(), self.host.whole(),
        )  # fmt: skip
        return Plan(
            self.netns, self.hostname(), argv, env, spec.get("workingDir") or "/", self._mounts.of_container(spec, env),
            said, image.applets, image.commands, self.folder / "roots" / f"{spec['name']}", self.home,
            self.limits.fresh(spec), image.shown,
        )  # fmt: skip


async def _either(first: Any, second: asyncio.Task[Any]) -> None:
    """Until one of the two is done; what waits for the first is taken away."""
    waiting = asyncio.ensure_future(first)
    try:
        await asyncio.wait([waiting, second], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
