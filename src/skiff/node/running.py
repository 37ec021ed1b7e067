"""How does one container live? Started, probed, restarted with patience, ended with grace."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Protocol

from skiff.api import Object
from skiff.log import Log
from skiff.net.namespace import node_of
from skiff.node import hooks, log_files, probes, records, statuses
from skiff.node.environment import CannotStartError
from skiff.node.images import Image, sought
from skiff.node.log_files import end_of, last_lines, log_path
from skiff.node.process import Place, Process
from skiff.node.root import Plan
from skiff.node.statuses import Before, stamp

_log = Log()

#: Before the second, third, ... restart; the first follows at once. A run of ten minutes begins the list anew.
_WAITS_S = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
_FORGIVEN_AFTER_S = 600.0
#: Nobody asks a container without a readiness probe; but one that ends at once was never ready.
_LASTS_S = 0.05
_HOOK_S = 30.0
_PATIENT_LOOKS = 10


class House(Place, Protocol):
    """What a container needs of its pod."""

    pod: Object
    ip: str

    async def plan(self, spec: Object, image: Image) -> Plan: ...
    async def event(self, kind: str, reason: str, message: str) -> None: ...
    def changed(self) -> None: ...


class Container:
    """One container through all of its runs."""

    def __init__(
        self, house: House, spec: Object, before: Before, *, sidecar: bool = False, init: bool = False
    ) -> None:
        self.house, self.spec, self.sidecar, self.init = house, spec, sidecar, init
        self.name: str = spec["name"]
        self.restarts, self.last = before
        self.state: Object = {"waiting": {"reason": "PodInitializing"}}
        self.ready = self.started = False
        self._failures = 0
        self.launched = asyncio.Event()  # started once, its postStart hook and startup probe done
        self.ended = asyncio.Event()  # this run
        self._process: Process | None = None
        self._found: Process | None = None  # of an earlier daemon, to be gone on with
        self._stopping = asyncio.Event()  # nobody starts it again
        self._id, self._asked = "", False
        self._hooked: asyncio.Task[str] | None = None  # its preStop

    def find(self, ready: str) -> None:
        """What an earlier daemon left of it goes on. ``ready`` is the id of the run that was ready at last."""
        noted = records.run(self.house.folder, self.name)
        if noted is not None:
            self.restarts, self.last, self._failures = noted.number, noted.last, noted.failures
        self._found = Process.of(self.house, self.spec)
        if self._found is not None:
            found = self._process = self._found
            self._id = found.noted.id
            self.ready, self.started = self._id == ready and not found.ended, found.noted.launched
            self.state = {"running": {"startedAt": found.noted.started_at}}

    def creating(self) -> None:
        """It is its turn."""
        if self._found is None:
            self._set({"waiting": {"reason": "ContainerCreating"}})

    # --- what is told ------------------------------------------------------------------------

    def status(self) -> Object:
        """The ContainerStatus."""
        found: Object = {
            "name": self.name, "image": self.spec.get("image", ""), "imageID": f"skiff://{self.spec.get('image', '')}",
            "ready": self.ready, "started": self.started, "restartCount": self.restarts, "state": self.state,
            "lastState": self.last,
        }  # fmt: skip
        return {**found, "containerID": f"skiff://{self._id}"} if self._id else found

    def log_path(self, *, previous: bool) -> Path:
        """The file of this run, or of the one before; between two runs the last one is both."""
        here, before = (
            log_path(self.house.folder, self.name, it) for it in (self.restarts, self.restarts - 1)
        )
        if not here.exists():  # it is about to be started again
            return before if before.exists() else here
        return before if previous and "waiting" not in self.state else here

    # --- life --------------------------------------------------------------------------------

    async def live(self) -> int:
        """Run until it is over by its restart policy; the last exit code."""
        policy = self.policy()
        while True:
            begun = time.monotonic()
            found, self._found = self._found, None
            if found is not None:
                begun -= found.lasted()
            code = await (self._go_on(found) if found else self._once())
            if self._stopping.is_set() or policy == "Never" or (policy == "OnFailure" and code == 0):
                return code
            if time.monotonic() - begun > _FORGIVEN_AFTER_S:
                self._failures = 0
            self.last = {"terminated": self.state["terminated"]} if "terminated" in self.state else self.last
            await self._back_off()
            if self._stopping.is_set():
                return code
            self.restarts += 1

    def policy(self) -> str:
        """When it is started again: Always, OnFailure or Never."""
        policy = "Always" if self.sidecar else str(self.house.pod["spec"].get("restartPolicy", "Always"))
        return "OnFailure" if self.init and not self.sidecar and policy == "Always" else policy

    async def _back_off(self) -> None:
        wait, self._failures = _WAITS_S[min(self._failures, len(_WAITS_S) - 1)], self._failures + 1
        if not wait:
            return
        metadata = self.house.pod["metadata"]
        who = f"{self.name} in pod {metadata['name']}_{metadata['namespace']}({metadata['uid']})"
        said = f"back-off {wait:.0f}s restarting failed container={who}"
        self._set({"waiting": {"reason": "CrashLoopBackOff", "message": said}})
        await self.house.event("Warning", "BackOff", f"Back-off restarting failed container {who}")
        await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _once(self) -> int:
        image = await self._image()
        plan = await self._planned(image) if image else None
        if plan is None or self._stopping.is_set():
            return 137
        self.ended = asyncio.Event()
        process = Process.new(self.house, self.spec, plan, self.restarts, self.last, self._failures)
        self._process, self._id = process, process.noted.id
        self.ready, self.started, self._asked, self._hooked = False, False, False, None
        try:
            await process.begin(plan)
        except OSError as refused:
            return await self._not_started(str(refused))
        log_files.remove(log_path(self.house.folder, self.name, self.restarts - 2))
        if self._stopping.is_set() and not self._asked:  # told to end while it was being started
            process.kill()
        return await self._heard(process, fresh=True)

    async def _go_on(self, process: Process) -> int:
        """A run that an earlier daemon began."""
        self._asked = process.noted.asked
        await process.go_on(self.house.folder / "roots" / self.name)
        return await self._heard(process, fresh=False)

    async def _heard(self, process: Process, *, fresh: bool) -> int:
        """Watch over a run until it ends; its exit code."""
        self._set({"running": {"startedAt": process.noted.started_at}})
        works = [asyncio.ensure_future(self._watched()), hearing := asyncio.ensure_future(process.hear())]
        try:
            if fresh:
                await self._say_started()
            code = await hearing
        finally:
            for it in works:
                it.cancel()
            await asyncio.gather(*works, return_exceptions=True)
        self.ready = self.started = False
        self._set({"terminated": self._epitaph(code, process)})
        self.ended.set()
        await process.release()
        return code

    async def _not_started(self, why: str) -> int:
        """The machine is short of something; like a program that failed at once."""
        now = stamp()
        found = {"exitCode": 128, "reason": "StartError", "startedAt": now, "finishedAt": now, "message": why}
        self._set({"terminated": found})
        await self.house.event("Warning", "Failed", f"Error: failed to start container {self.name}: {why}")
        return 128

    async def _say_started(self) -> None:
        image = self.spec.get("image", "")
        await self.house.event("Normal", "Pulled", f'Container image "{image}" already present on machine')
        await self.house.event("Normal", "Created", f"Created container: {self.name}")
        await self.house.event("Normal", "Started", f"Started container {self.name}")

    def _epitaph(self, code: int, process: Process) -> Object:
        note = self.house.folder / "termination" / self.name
        message = end_of(note, 4096)
        if code and not message and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = last_lines(log_path(self.house.folder, self.name, self.restarts), 80)[-2048:]
        oom = code == 137 and self.house.limits.exceeded_memory(self.name)
        code, reason = (137, "OOMKilled") if oom else (code, "Error" if code else "Completed")
        reason = "Unknown" if process.unseen else reason
        found = {
            "exitCode": code, "reason": reason, "startedAt": process.noted.started_at, "finishedAt": process.finished_at(),
            "containerID": f"skiff://{self._id}",
        }  # fmt: skip
        return {**found, "message": message} if message else found

    async def _image(self) -> Image | None:
        """The program of the image; waits, telling what to do, until there is one."""
        image, looks, told = self.spec.get("image", ""), 0, ""
        while not (found := sought(image, self.house.home)).image and not self._stopping.is_set():
            said = f'failed to pull image "{image}": {found.why}'
            if said != told:
                looks, told = 0, said
                await self.house.event("Warning", "Failed", f'Failed to pull image "{image}": {found.why}')
                await self.house.event("Warning", "Failed", "Error: ErrImagePull")
                self._set({"waiting": {"reason": "ErrImagePull", "message": said}})
            elif looks == _PATIENT_LOOKS:
                await self.house.event("Normal", "BackOff", f'Back-off pulling image "{image}"')
                held = f'Back-off pulling image "{image}": {said}'
                self._set({"waiting": {"reason": "ImagePullBackOff", "message": held}})
            looks += 1
            await self._pause(1.0)  # the user may add it at any time, and looking costs nothing
        return found.image

    async def _planned(self, image: Image) -> Plan | None:
        told = ""
        while not self._stopping.is_set():
            try:
                return await self.house.plan(self.spec, image)
            except CannotStartError as wrong:
                if str(wrong) != told:
                    told = str(wrong)
                    self._set({"waiting": {"reason": "CreateContainerConfigError", "message": told}})
                    await self.house.event("Warning", "Failed", f"Error: {told}")
                await self._pause(1.0)
        return None

    # --- probes ------------------------------------------------------------------------------

    async def _watched(self) -> None:
        while True:
            try:
                return await self._watch_over()
            except Exception:  # noqa: BLE001  # a container that nobody asks would never be ready
                _log.exception("a container is looked at anew", container=self.name)
            await asyncio.sleep(1.0)

    async def _watch_over(self) -> None:
        process = self._process
        assert process
        if not process.noted.launched:
            hook = (self.spec.get("lifecycle") or {}).get("postStart")
            if hook and await self._hook(hook, _HOOK_S, "PostStart"):
                return await self._end(self._grace())
            probe = self.spec.get("startupProbe")
            if probe and not await self._repeat(probe, until_good=True, fatal=True):
                return None
            process.note(launched=True)
        self.started = True
        readiness, liveness = self.spec.get("readinessProbe"), self.spec.get("livenessProbe")
        self.launched.set()
        self.house.changed()
        if not readiness and not self.ready:
            await asyncio.sleep(_LASTS_S)
            self.ready = True
            self.house.changed()
        async with asyncio.TaskGroup() as tasks:
            if readiness:
                tasks.create_task(self._repeat(readiness, until_good=False, fatal=False))
            if liveness:
                tasks.create_task(self._repeat(liveness, until_good=False, fatal=True))
        return None

    def _grace(self) -> float:
        return statuses.grace(self.house.pod)

    async def _repeat(self, probe: Object, *, until_good: bool, fatal: bool) -> bool:
        """One probe for the life of a run; whether it became good at last. Until then it is asked every second at most."""
        good = bad = 0
        lasted = self._process.lasted() if self._process else 0.0
        await asyncio.sleep(max(float(probe.get("initialDelaySeconds") or 0) - lasted, 0.0))
        period, ever = float(probe.get("periodSeconds") or 10), False
        while not (fatal and self._stopping.is_set()):  # what is ending anyway is not ended for its health
            wrong = await probes.check(probe, self.spec, self._place(), self.run)
            good, bad = (good + 1, 0) if not wrong else (0, bad + 1)
            ever = ever or not wrong
            if not wrong and until_good and good >= int(probe.get("successThreshold") or 1):
                return True
            if not fatal:
                self._readiness(probe, good, bad)
            if wrong:
                kind = "Startup" if until_good else "Liveness" if fatal else "Readiness"
                enough = bad >= int(probe.get("failureThreshold") or 3)
                if fatal or ever or enough:
                    await self.house.event("Warning", "Unhealthy", f"{kind} probe failed: {wrong}")
                if fatal and enough and not self._stopping.is_set():
                    said = f"Container {self.name} failed {kind.lower()} probe, will be restarted"
                    await self.house.event("Normal", "Killing", said)
                    await self._end(float(probe.get("terminationGracePeriodSeconds") or self._grace()))
                    return False
            eager = not ever and not fatal
            await asyncio.sleep(min(period, 1.0) if eager else period)
        return False

    def _readiness(self, probe: Object, good: int, bad: int) -> None:
        before = self.ready
        if good >= int(probe.get("successThreshold") or 1):
            self.ready = True
        elif bad >= int(probe.get("failureThreshold") or 3):
            self.ready = False
        if before != self.ready:
            self.house.changed()

    # --- commands and the end ------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.running

    @property
    def process(self) -> Process:
        """The one that runs; ProcessLookupError when none does."""
        if self._process is None or not self._process.running:
            raise ProcessLookupError(f"container {self.name} is not running")
        return self._process

    async def run(self, argv: list[str], seconds: float) -> tuple[int, str]:
        """(exit code, output) of a program in the container."""
        return await self.process.run(argv, seconds)

    def _place(self) -> probes.Place:
        return probes.Place(self.house.ip, node_of(self.house.home))

    async def _hook(self, hook: Object, seconds: float, name: str) -> str:
        wrong = await hooks.run(hook, self.spec, self._place(), self.run, seconds)
        if wrong:
            await self.house.event("Warning", f"Failed{name}Hook", f"{name}Hook failed: {wrong}")
        return wrong

    async def prepare(self, seconds: float) -> None:
        """preStop, once for each run. A sidecar's begins together with the pod's end, long before its signal."""
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if hook and self.running and self._hooked is None:
            self._hooked = asyncio.ensure_future(self._hook(hook, seconds, "PreStop"))
        if self._hooked is not None:
            await asyncio.wait([self._hooked], timeout=seconds)

    async def stop(self, seconds: float) -> None:
        """preStop, SIGTERM, and SIGKILL when the grace is over. It is not started again."""
        first = not self._stopping.is_set()
        self._stopping.set()
        if self.running and first:
            await self.house.event("Normal", "Killing", f"Stopping container {self.name}")
        await self._end(seconds)

    async def _end(self, seconds: float) -> None:
        process = self._process
        if process is None or process.ended:
            return
        end = time.monotonic() + seconds
        if seconds > 0 and await self._asked_to_end(process, seconds):
            left = max(end - time.monotonic(), 2.0 if self._hooked else 0.05)
            if await process.wait(left):
                return
        process.kill()
        await process.wait(10.0)

    async def _asked_to_end(self, process: Process, seconds: float) -> bool:
        """Hook and signal, once for each run, whoever asks: for many programs a second signal means at once."""
        if self._asked:
            return True
        self._asked = True
        await self.prepare(seconds)
        told = process.signal(hooks.stop_signal(self.spec))
        process.note(asked=told)
        return told

    async def release(self) -> None:
        """It has ended, and nobody hears it any more."""
        if self._process:
            await self._process.release()

    def leave(self) -> None:
        """It goes on without us."""
        if self._process:
            self._process.forget()

    def _set(self, state: Object) -> None:
        self.state = state
        self.house.changed()
