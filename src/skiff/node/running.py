"""How does one container live? Started, probed, restarted with patience, ended with grace."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import structlog

from skiff.api import Object
from skiff.node import container as processes
from skiff.node import probes
from skiff.node.container import Plan
from skiff.node.environment import MissingReferenceError
from skiff.node.images import Image, find_image
from skiff.node.log_files import LogFile
from skiff.node.statuses import stamp

_log = structlog.get_logger("skiff.node")

_FIRST_WAIT_S, _LONGEST_WAIT_S, _FORGIVEN_AFTER_S = 10.0, 300.0, 600.0
_PULL_WAITS = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)


class House(Protocol):
    """What a container needs of its pod."""

    pod: Object
    home: Path  # the node's folder, where images.yaml may lie
    folder: Path  # the pod's folder
    ip: str

    async def plan(self, spec: Object, image: Image) -> Plan: ...
    async def event(self, kind: str, reason: str, message: str) -> None: ...
    def changed(self) -> None: ...


class Container:
    """One container through all of its runs."""

    def __init__(
        self, house: House, spec: Object, restarts: int, *, sidecar: bool = False, init: bool = False
    ) -> None:
        self.house, self.spec, self.sidecar, self.init = house, spec, sidecar, init
        self.name: str = spec["name"]
        self.restarts = restarts
        self.state: Object = {"waiting": {"reason": "PodInitializing"}}
        self.last: Object = {}
        self.ready = self.started = False
        self.launched = asyncio.Event()  # started once, its postStart hook and startup probe done
        self.ended = asyncio.Event()  # this run
        self.log: LogFile | None = None
        self._guardian: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._id = ""
        self._wait_s = _FIRST_WAIT_S

    # --- what is told ------------------------------------------------------------------------

    def status(self) -> Object:
        """The ContainerStatus."""
        found: Object = {
            "name": self.name, "image": self.spec.get("image", ""), "imageID": f"skiff://{self.spec.get('image', '')}",
            "ready": self.ready, "started": self.started, "restartCount": self.restarts, "state": self.state,
            "lastState": self.last,
        }  # fmt: skip
        return {**found, "containerID": f"skiff://{self._id}"} if self._id else found

    def log_path(self, run: int) -> Path:
        """The file of a run."""
        return self.house.folder / "logs" / self.name / f"{run}.log"

    # --- life --------------------------------------------------------------------------------

    async def live(self) -> int:
        """Run until it is over by its restart policy; the last exit code."""
        policy = "Always" if self.sidecar else self.house.pod["spec"].get("restartPolicy", "Always")
        if self.init and not self.sidecar and policy == "Always":
            policy = "OnFailure"
        while True:
            begun = time.monotonic()
            code = await self._once()
            if self._stopping or policy == "Never" or (policy == "OnFailure" and code == 0):
                return code
            if time.monotonic() - begun > _FORGIVEN_AFTER_S:
                self._wait_s = _FIRST_WAIT_S
            await self._back_off()
            if self._stopping:
                return code
            self.restarts += 1

    async def _back_off(self) -> None:
        wait, self._wait_s = self._wait_s, min(self._wait_s * 2, _LONGEST_WAIT_S)
        self.last = {"terminated": self.state["terminated"]} if "terminated" in self.state else self.last
        said = f"back-off {wait:.0f}s restarting failed container={self.name} pod={self.house.pod['metadata']['name']}"
        if self.restarts or wait > _FIRST_WAIT_S:
            self._set({"waiting": {"reason": "CrashLoopBackOff", "message": said}})
            await self.house.event("Warning", "BackOff", f"Back-off restarting failed container {self.name}")
            await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.2))

    async def _once(self) -> int:
        image = await self._image()
        plan = await self._planned(image) if image else None
        if plan is None:
            return 137
        self.ended = asyncio.Event()
        self.log = LogFile(self.log_path(self.restarts))
        self._guardian = await processes.start(plan)
        self._id = uuid.uuid4().hex + uuid.uuid4().hex
        begun = stamp()
        self.ready = self.started = False
        self._set({"running": {"startedAt": begun}})
        await self.house.event("Normal", "Started", f"Container started: {self.name}")
        prober = asyncio.ensure_future(self._watch_over())
        try:
            code = await self._until_end(self._guardian, self.log)
        finally:
            prober.cancel()
            await asyncio.gather(prober, return_exceptions=True)
            self.ready = self.started = False
        self._set({"terminated": self._epitaph(code, begun)})
        self.ended.set()
        return code

    async def _until_end(self, guardian: asyncio.subprocess.Process, log: LogFile) -> int:
        assert guardian.stdout
        assert guardian.stderr
        await asyncio.gather(log.pump("stdout", guardian.stdout), log.pump("stderr", guardian.stderr))
        code = await guardian.wait()
        log.close()
        return 128 - code if code < 0 else code

    def _epitaph(self, code: int, begun: str) -> Object:
        note = self.house.folder / "termination" / self.name
        message = note.read_text(errors="replace")[-4096:] if note.exists() else ""
        reason = "Completed" if code == 0 else "Error"
        found = {
            "exitCode": code, "reason": reason, "startedAt": begun, "finishedAt": stamp(), "containerID": f"skiff://{self._id}",
        }  # fmt: skip
        return {**found, "message": message} if message else found

    async def _image(self) -> Image | None:
        """The program of the image; waits, telling what to do, until there is one."""
        image = self.spec.get("image", "")
        for attempt in range(10**9):
            found = find_image(image, self.house.home)
            if found or self._stopping:
                return found
            said = (
                f'failed to pull image "{image}": skiff runs programs of this machine and has none for it. Add a line to '
                f'{self.house.home / "images.yaml"}, such as: - {{image: "{image}", entrypoint: [/usr/bin/program]}}'
            )
            await self.house.event("Warning", "Failed", said)
            self._set({"waiting": {"reason": "ErrImagePull", "message": said}})
            await self._pause(1.0)
            self._set(
                {
                    "waiting": {
                        "reason": "ImagePullBackOff",
                        "message": f'Back-off pulling image "{image}": {said}',
                    }
                }
            )
            await self._pause(_PULL_WAITS[min(attempt, len(_PULL_WAITS) - 1)])
        return None

    async def _planned(self, image: Image) -> Plan | None:
        while not self._stopping:
            try:
                return await self.house.plan(self.spec, image)
            except MissingReferenceError as missing:
                self._set({"waiting": {"reason": "CreateContainerConfigError", "message": str(missing)}})
                await self.house.event("Warning", "Failed", f"Error: {missing}")
                await self._pause(2.0)
        return None

    # --- probes ------------------------------------------------------------------------------

    async def _watch_over(self) -> None:
        try:
            if hook := (self.spec.get("lifecycle") or {}).get("postStart"):
                await self._hook(hook, 30.0)
            if probe := self.spec.get("startupProbe"):
                await self._repeat(probe, until_good=True, fatal=True)
            self.started = True
            readiness, liveness = self.spec.get("readinessProbe"), self.spec.get("livenessProbe")
            self.ready = not readiness
            self.launched.set()
            self.house.changed()
            async with asyncio.TaskGroup() as tasks:
                if readiness:
                    tasks.create_task(self._repeat(readiness, until_good=False, fatal=False))
                if liveness:
                    tasks.create_task(self._repeat(liveness, until_good=False, fatal=True))
        except* OSError as gone:
            _log.debug(
                "a probe ended with its container", container=self.name, reason=str(gone.exceptions[0])
            )

    async def _repeat(self, probe: Object, *, until_good: bool, fatal: bool) -> None:
        """One probe for the life of a run. Until the first success it is asked every second at most: pods start sooner."""
        good = bad = 0
        await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
        period, ever = float(probe.get("periodSeconds") or 10), False
        while True:
            wrong = await probes.check(probe, self.spec, self.house.ip, self.run)
            good, bad = (good + 1, 0) if not wrong else (0, bad + 1)
            ever = ever or not wrong
            if not wrong and until_good and good >= int(probe.get("successThreshold") or 1):
                return
            if not fatal:
                self._readiness(probe, good, bad)
            if wrong:
                kind = "Startup" if until_good else "Liveness" if fatal else "Readiness"
                if fatal or ever:
                    await self.house.event("Warning", "Unhealthy", f"{kind} probe failed: {wrong}")
                if fatal and bad >= int(probe.get("failureThreshold") or 3):
                    await self.house.event(
                        "Normal",
                        "Killing",
                        f"Container {self.name} failed {kind.lower()} probe, will be restarted",
                    )
                    await self._end(float(self.house.pod["spec"].get("terminationGracePeriodSeconds") or 30))
                    return
            eager = not ever and not fatal
            await asyncio.sleep(min(period, 1.0) if eager else period)

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
    def guardian(self) -> int:
        """The pid to enter by; LookupError when the container is not running."""
        if self._guardian is None or self._guardian.returncode is not None:
            raise ProcessLookupError(f"container {self.name} is not running")
        return self._guardian.pid

    def command(self, argv: list[str]) -> list[str]:
        """The host's command line which runs a program in the container."""
        directory = self.spec.get("workingDir") or "/"
        return processes.exec_command(self.guardian, argv, security(self.house.pod, self.spec), directory)

    async def run(self, argv: list[str], seconds: float) -> tuple[int, str]:
        """(exit code, output) of a program in the container."""
        process = await asyncio.create_subprocess_exec(
            *self.command(argv), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, env=await self.environment(),
        )  # fmt: skip
        try:
            said, _ = await asyncio.wait_for(process.communicate(), seconds)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, said.decode(errors="replace")

    async def environment(self) -> dict[str, str]:
        """What the program itself was given."""
        pid = processes.first_process(self.guardian)
        raw = Path(f"/proc/{pid}/environ").read_bytes() if pid else b""
        pairs = (it.partition(b"=") for it in raw.split(b"\0") if it)
        return {key.decode(): value.decode(errors="replace") for key, _, value in pairs}

    async def _hook(self, hook: Object, seconds: float) -> None:
        try:
            if command := hook.get("exec"):
                async with asyncio.timeout(seconds):
                    code, said = await self.run(command.get("command") or [], seconds)
                if code:
                    await self.house.event(
                        "Warning", "FailedLifecycleHook", said.strip()[-500:] or f"exit code {code}"
                    )
            elif get := hook.get("httpGet"):
                await probes.http_get(get, self.spec, self.house.ip, seconds)
            elif rest := hook.get("sleep"):
                await asyncio.sleep(min(float(rest.get("seconds") or 0), seconds))
        except Exception as wrong:  # noqa: BLE001  # whatever a hook does wrong is told, and the container goes on
            await self.house.event("Warning", "FailedLifecycleHook", str(wrong) or type(wrong).__name__)

    async def stop(self, seconds: float) -> None:
        """preStop, SIGTERM, and SIGKILL when the grace is over. It is not started again."""
        self._stopping = True
        await self._end(seconds)

    async def _end(self, seconds: float) -> None:
        guardian = self._guardian
        if guardian is None or guardian.returncode is not None:
            return
        end = time.monotonic() + seconds
        if hook := (self.spec.get("lifecycle") or {}).get("preStop"):
            await self._hook(hook, max(seconds, 0.1))
        if pid := processes.first_process(guardian.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, _signal(self.spec))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), max(end - time.monotonic(), 0.05))
            return
        if pid := processes.first_process(guardian.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            guardian.kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), 10.0)

    def _set(self, state: Object) -> None:
        self.state = state
        self.house.changed()


Ended = Callable[[], Awaitable[None]]


def _signal(spec: Object) -> int:
    name = (spec.get("lifecycle") or {}).get("stopSignal") or "SIGTERM"
    return int(getattr(signal, name, signal.SIGTERM))


def security(pod: Object, spec: Object) -> dict[str, Any]:
    """The pod's security context with the container's over it."""
    return {**(pod["spec"].get("securityContext") or {}), **(spec.get("securityContext") or {})}
