"""What does the node do? It runs the pods bound to it, and moves packets between them. See ``skiff.api.Node``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from skiff.api import Api, ExecSession, Measured, Object
from skiff.controllers.informer import Informers
from skiff.errors import ApiError
from skiff.kinds import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from skiff.log import Log
from skiff.net.kernel import socket_inside
from skiff.net.namespace import NodeNetwork
from skiff.node import claimed, guardian, leftovers, limits, log_files, sessions, skeleton
from skiff.node.filtering import Filtering
from skiff.node.leftovers import unmount
from skiff.node.log_files import log_path
from skiff.node.measuring import measure
from skiff.node.packets import Packets
from skiff.node.pod import PodWorker
from skiff.node.records import folder_of
from skiff.node.registration import keep_registered
from skiff.settings import Settings

_log = Log()

_AT_ONCE = 4
#: Somebody removes a pod's network namespace or link: seen within so long.
_LOOK_S = 2.0
Token = Callable[[str, str, dict[str, Any]], Awaitable[str]]


def _begun(state: Object) -> str:
    return str((state.get("running") or {}).get("startedAt", ""))


class NodeAgent:
    """The only node."""

    def __init__(self, api: Api, settings: Settings, *, token: Token) -> None:
        self.api, self.settings, self.token = api, settings, token
        self.network = NodeNetwork(
            settings.home, settings.pod_cidr, settings.service_cidr, (settings.api_ip, settings.dns_ip)
        )
        self.setting_up = asyncio.Semaphore(_AT_ONCE)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._informers = Informers(api)
        self.packets = Packets(api, settings, self._informers)
        self._filtering = Filtering(self._informers, self.network.node)
        self.leaving = False
        self.lost = asyncio.Event()  # the node has to be made anew

    # --- beginning and end ---------------------------------------------------------------------

    async def prepare(self) -> None:
        """The node's network, limits and folders, with what an earlier daemon left and is still meant to be."""
        skeleton.prepare(self.settings.home)
        guardian.install(self.settings.home)
        (self.settings.home / limits.TOLD).write_text(limits.prepare(self.settings))
        pods = {folder_of(self.settings.home, it): it for it in await self.api.list(PODS)}
        kept = await leftovers.sort(self.settings.home, {it for it, pod in pods.items() if _goes_on(pod)})
        await self.network.prepare((it.name, it.ip, it.inode) for it in kept)

    def listen_api(self) -> socket.socket:
        """A socket at the API's address inside the node's network, for the API server."""
        made = socket_inside(
            self.network.node, socket.AF_INET, socket.SOCK_STREAM, (self.settings.api_ip, 443)
        )
        made.listen(512)
        return made

    async def run(self) -> None:
        """Until cancelled."""
        self._informers[PODS].listen(self._pod_changed)
        self._informers[PERSISTENT_VOLUMES].listen(self._volume_changed)
        _ = self._informers[PERSISTENT_VOLUME_CLAIMS]  # asking begins the cache
        await self.packets.serve_dns()
        async with asyncio.TaskGroup() as tasks:
            self._informers.start(tasks)
            await self._informers.wait()
            await self._sweep()
            tasks.create_task(self._keep_sandboxes())
            tasks.create_task(self.packets.keep_rules())
            tasks.create_task(self._filtering.keep_rules())
            tasks.create_task(keep_registered(self.api, self.settings, self.capacity()))

    async def stop(self) -> None:
        """End every pod's processes; the objects stay, so that the next start brings them back."""
        await self._end_works()
        await self.network.remove()
        limits.remove(self.settings)

    async def leave(self) -> None:
        """Go away without touching a pod: the next daemon finds them."""
        self.leaving = True
        await self._end_works()
        self.network.unlock()

    async def _end_works(self) -> None:
        for it in self._tasks:
            it.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.packets.close()

    async def _keep_sandboxes(self) -> None:
        """Until somebody removes what all pods hang on. Pods whose own place in the network is gone get another one."""
        while not self.network.lost():
            with contextlib.suppress(OSError):  # gone in this moment
                links = self.network.links()
                for it in list(self._workers.values()):
                    it.look(links)
            await asyncio.sleep(_LOOK_S)
        _log.error("somebody removed the node's network: it is made anew")
        self.lost.set()

    # --- pods ----------------------------------------------------------------------------------

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        before = old["metadata"]["uid"] if old is not None else ""
        replaced = new is None or new["metadata"]["uid"] != before
        if replaced and (gone := self._workers.get(before)):
            gone.vanish()
        elif replaced and old is not None:  # it had finished before this daemon began
            shutil.rmtree(folder_of(self.settings.home, old), ignore_errors=True)
        if new is None or (new.get("spec") or {}).get("nodeName") != self.settings.node_name:
            return
        if worker := self._workers.get(new["metadata"]["uid"]):
            worker.update(new)
        elif _goes_on(new):
            worker = self._workers[new["metadata"]["uid"]] = PodWorker(self, new)
            task = asyncio.get_running_loop().create_task(self._lived(worker))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _volume_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:  # its claim is gone, and no pod uses that any more
            shutil.rmtree(claimed.folder(self.settings.home, old), ignore_errors=True)

    async def _sweep(self) -> None:
        """Remove the folders of pods and volumes that ended while no daemon ran."""
        known = {folder_of(self.settings.home, it) for it in self._informers[PODS].objects.values()}
        volumes = self._informers[PERSISTENT_VOLUMES].objects.values()
        known |= {claimed.folder(self.settings.home, it) for it in volumes}
        known |= claimed.earlier(
            self.settings.home, self._informers[PERSISTENT_VOLUME_CLAIMS].objects.values()
        )
        limits.sweep(self.settings, {it["metadata"]["uid"] for it in self._informers[PODS].objects.values()})
        for folder in (self.settings.home / "pods", self.settings.home / "claims"):
            for it in folder.iterdir() if folder.is_dir() else ():
                if it not in known:
                    await unmount(it)
                    shutil.rmtree(it, ignore_errors=True)

    async def _lived(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001  # one pod's trouble is no other's
            _log.exception("a pod's life ended unexpectedly", pod=f"{worker.namespace}/{worker.name}")
        finally:
            self._workers.pop(worker.uid, None)

    def _worker(self, namespace: str, pod: str) -> PodWorker:
        found = next(
            (it for it in self._workers.values() if (it.namespace, it.name) == (namespace, pod)), None
        )
        if found is None:
            raise ApiError(404, "NotFound", f"pod {namespace}/{pod} is not running on this node")
        return found

    def services(self) -> dict[tuple[str, str], Object]:
        """All services, for the environment of containers."""
        return self.packets.world.services

    def whole(self) -> dict[str, str]:
        """What the node has, where a container sets no limit."""
        cpus, memory = self.capacity()
        return {"cpu": str(cpus), "memory": str(memory * 1024 * 1024), "ephemeral-storage": "0"}

    def capacity(self) -> tuple[int, int]:
        """(CPUs, MiB) of the node."""
        cpus = self.settings.cpus or os.cpu_count() or 1
        memory = self.settings.memory_mib or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        return cpus, memory

    async def withdrawn(self, ip: str) -> None:
        """Until no service sends new connections there; not for longer than a moment."""
        await self.packets.withdrawn(ip)

    async def service_address(self, namespace: str, service: str, port: int) -> tuple[str, int]:
        """An address the daemon can dial; LookupError with the reason when there is none."""
        return self.packets.service_address(namespace, service, port)

    # --- skiff.api.Node ------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """See ``skiff.api.Node``."""
        return self.settings.node_name

    def address(self, namespace: str, pod: str) -> str:
        """See ``skiff.api.Node``."""
        if ip := self._worker(namespace, pod).ip:
            return ip
        raise ApiError(503, "ServiceUnavailable", f"pod {namespace}/{pod} has no address yet")

    def outlet(self) -> socket.socket:
        """See ``skiff.api.Node``."""
        return socket_inside(self.network.node, socket.AF_INET, socket.SOCK_STREAM)

    async def measured(self) -> list[Measured]:
        """See ``skiff.api.Node``."""
        running = [
            (worker.namespace, worker.name, it.name, worker.uid, _begun(it.state), it.process.noted.program[0])
            for worker in self._workers.values() for it in worker.running()
        ]  # fmt: skip
        return await asyncio.to_thread(measure, self.settings, running)

    async def logs(
        self, namespace: str, pod: str, container: str, *, follow: bool, previous: bool, tail: int | None,
        since: datetime | None, timestamps: bool,
    ) -> AsyncIterator[bytes]:  # fmt: skip
        """See ``skiff.api.Node``."""
        path, ended = self._log(namespace, pod, container, previous=previous)
        until = ended if follow and not previous else None
        async for part in log_files.read(path, ended=until, tail=tail, since=since, timestamps=timestamps):
            yield part

    def _log(
        self, namespace: str, pod: str, container: str, *, previous: bool
    ) -> tuple[Path, asyncio.Event | None]:
        """(file, when its run is over). Of a pod that finished before this daemon began, the files are still there."""
        obj = self._informers[PODS].get(namespace, pod)
        worker = self._workers.get(obj["metadata"]["uid"]) if obj else None
        if obj is None:
            raise ApiError(404, "NotFound", f'pods "{pod}" not found')
        if worker is not None:
            it = worker.container(container)
            path, ended, state = it.log_path(previous=previous), it.ended, it.state
        else:
            every: list[Object] = [
                told for kind in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
                for told in (obj.get("status") or {}).get(kind) or ()
            ]  # fmt: skip
            told: Object = next((it for it in every if it["name"] == container), {})
            run = int(told.get("restartCount", 0)) - previous
            path, ended, state = (
                log_path(folder_of(self.settings.home, obj), container, run),
                None,
                told.get("state") or {},
            )
        if path.exists():
            return path, ended
        said = f'previous terminated container "{container}" in pod "{pod}" not found' if previous else (
            f'container "{container}" in pod "{pod}" is waiting to start: '
            + str((state.get("waiting") or {}).get("reason", "PodInitializing"))
        )  # fmt: skip
        raise ApiError(400, "BadRequest", said)

    async def exec(
        self, namespace: str, pod: str, container: str, command: list[str], *, tty: bool
    ) -> ExecSession:
        """See ``skiff.api.Node``."""
        it = self._worker(namespace, pod).container(container)
        try:
            inside = it.process
            argv = inside.command(["/usr/bin/setsid", "--ctty", *command] if tty else command)
            return await sessions.start(
                argv, inside.environment(), terminal=inside.terminal() if tty else None
            )
        except (ProcessLookupError, FileNotFoundError) as gone:
            raise ApiError(400, "BadRequest", str(gone)) from gone
        except (
            OSError
        ) as wrong:  # its program may have made its place such that nothing else can be run there
            raise ApiError(
                500,
                "InternalError",
                f"Internal error occurred: error executing command in container: {wrong}",
            ) from wrong

    async def attach(self, namespace: str, pod: str, container: str) -> ExecSession:
        """See ``skiff.api.Node``."""
        it = self._worker(namespace, pod).container(container)
        if not it.running:
            raise ApiError(400, "BadRequest", f"container {container} not running ({next(iter(it.state))})")
        return it.process.attach()

    async def dial(self, namespace: str, pod: str, port: int) -> Any:
        """See ``skiff.api.Node``."""
        made = socket_inside(self._worker(namespace, pod).netns, socket.AF_INET, socket.SOCK_STREAM)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port)), 10)
        except (OSError, TimeoutError):
            made.close()
            raise
        return await asyncio.open_connection(sock=made)


def _goes_on(pod: Object) -> bool:
    """Whether there is something to do for it: what is over, and nobody has deleted, only lies there."""
    over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return not over or bool(pod["metadata"].get("deletionTimestamp"))
