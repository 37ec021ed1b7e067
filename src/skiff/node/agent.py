"""What does the node do? It runs the pods bound to it, and moves packets between them. See ``skiff.api.Node``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from skiff.api import Api, ExecSession, Object
from skiff.controllers.informer import Informers
from skiff.errors import ApiError
from skiff.kinds import ENDPOINT_SLICES, LEASES, NODES, PODS, SERVICES
from skiff.net.dns import DnsServer, World
from skiff.net.kernel import KernelRefusedError, run, socket_inside
from skiff.net.namespace import NODE, NODE_IP, NodeNetwork
from skiff.net.services import fronts, ready_endpoints, ruleset
from skiff.node import log_files, sessions
from skiff.node.pod import PodWorker
from skiff.node.statuses import stamp
from skiff.settings import Settings

_log = structlog.get_logger("skiff.node")

_HEARTBEAT_S = 20.0
_AT_ONCE = 4
_SERVICE = "kubernetes.io/service-name"
Token = Callable[[str, str, dict[str, Any]], Awaitable[str]]


class NodeAgent:
    """The only node."""

    def __init__(self, api: Api, settings: Settings, *, token: Token, ca_pem: bytes) -> None:
        self.api, self.settings, self.token = api, settings, token
        del ca_pem  # pods find the CA in the ConfigMap kube-root-ca.crt
        self.network = NodeNetwork(
            settings.pod_cidr, settings.service_cidr, (settings.api_ip, settings.dns_ip)
        )
        self.setting_up = asyncio.Semaphore(_AT_ONCE)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._informers = Informers(api)
        self._rules = asyncio.Event()
        self._world = World({}, {})
        self._applied = ""

    # --- beginning and end ---------------------------------------------------------------------

    async def prepare(self) -> None:
        """The node's network, without what a killed daemon left."""
        await self.network.prepare()

    def listen_api(self) -> socket.socket:
        """A socket at the API's address inside the node's network, for the API server."""
        made = socket_inside(NODE, socket.AF_INET, socket.SOCK_STREAM, (self.settings.api_ip, 443))
        made.listen(512)
        return made

    async def run(self) -> None:
        """Until cancelled."""
        for kind in (SERVICES, ENDPOINT_SLICES):
            self._informers[kind].listen(lambda _old, _new: self._rules.set())
        self._informers[PODS].listen(self._pod_changed)
        await self._serve_dns()
        async with asyncio.TaskGroup() as tasks:
            self._informers.start(tasks)
            await self._informers.wait()
            self._rules.set()
            tasks.create_task(self._keep_rules())
            tasks.create_task(self._keep_alive())

    async def stop(self, *, delete: bool) -> None:
        """End every pod's processes; the objects stay, so that the next start brings them back."""
        del delete  # what lies on disk goes with the cluster's folder
        for it in self._tasks:
            it.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.network.remove()

    # --- pods ----------------------------------------------------------------------------------

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        del old
        if new is None or (new.get("spec") or {}).get("nodeName") != self.settings.node_name:
            return
        uid = new["metadata"]["uid"]
        if worker := self._workers.get(uid):
            worker.update(new)
        elif (new.get("status") or {}).get("phase") not in ("Succeeded", "Failed") or new["metadata"].get(
            "deletionTimestamp"
        ):
            worker = self._workers[uid] = PodWorker(self, new)
            task = asyncio.get_running_loop().create_task(self._lived(worker))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

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
        return self._world.services

    def whole(self) -> dict[str, str]:
        """What the node has, where a container sets no limit."""
        cpus, memory = self._capacity()
        return {"cpu": str(cpus), "memory": str(memory * 1024 * 1024), "ephemeral-storage": "0"}

    # --- skiff.api.Node ------------------------------------------------------------------------

    async def logs(
        self, namespace: str, pod: str, container: str, *, follow: bool, previous: bool, tail: int | None,
        since_seconds: int | None, timestamps: bool,
    ) -> AsyncIterator[bytes]:  # fmt: skip
        """See ``skiff.api.Node``."""
        it = self._worker(namespace, pod).container(container)
        path = it.log_path(it.restarts - 1 if previous else it.restarts)
        if not path.exists() and not previous and it.restarts:
            path = it.log_path(it.restarts - 1)
        if not path.exists():
            said = f'previous terminated container "{container}" in pod "{pod}" not found' if previous else (
                f'container "{container}" in pod "{pod}" is waiting to start: '
                + str((it.state.get("waiting") or {}).get("reason", "PodInitializing"))
            )  # fmt: skip
            raise ApiError(400, "BadRequest", said)
        since = datetime.now(UTC) - timedelta(seconds=since_seconds) if since_seconds else None
        ended = it.ended if follow and not previous else None
        async for part in log_files.read(path, ended=ended, tail=tail, since=since, timestamps=timestamps):
            yield part

    async def exec(
        self, namespace: str, pod: str, container: str, command: list[str], *, tty: bool
    ) -> ExecSession:
        """See ``skiff.api.Node``."""
        it = self._worker(namespace, pod).container(container)
        try:
            return await sessions.start(it.command(command), await it.environment(), tty=tty)
        except ProcessLookupError as gone:
            raise ApiError(400, "BadRequest", str(gone)) from gone

    async def dial(self, namespace: str, pod: str, port: int) -> Any:
        """See ``skiff.api.Node``."""
        made = socket_inside(self._worker(namespace, pod).netns, socket.AF_INET, socket.SOCK_STREAM)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port)), 10)
        except (OSError, TimeoutError):
            made.close()
            raise
        return await asyncio.open_connection(sock=made)

    # --- packets -------------------------------------------------------------------------------

    async def _serve_dns(self) -> None:
        loop = asyncio.get_running_loop()
        server = DnsServer(lambda: self._world, self.settings.cluster_domain)
        where = (self.settings.dns_ip, 53)
        await loop.create_datagram_endpoint(
            lambda: server, sock=socket_inside(NODE, socket.AF_INET, socket.SOCK_DGRAM, where)
        )
        listening = socket_inside(NODE, socket.AF_INET, socket.SOCK_STREAM, where)
        listening.listen(64)
        await asyncio.start_server(server.serve_tcp, sock=listening)

    async def _keep_rules(self) -> None:
        while True:
            await self._rules.wait()
            await asyncio.sleep(0.02)
            self._rules.clear()
            services = self._informers[SERVICES].objects
            slices: dict[tuple[str, str], list[Object]] = {}
            for it in self._informers[ENDPOINT_SLICES].objects.values():
                name = (it["metadata"].get("labels") or {}).get(_SERVICE)
                if name:
                    slices.setdefault((it["metadata"]["namespace"], name), []).append(it)
            self._world = World(dict(services), slices)
            own = (self.settings.api_ip, self.settings.dns_ip)
            offered = [
                front for key, it in sorted(services.items()) if it["spec"].get("clusterIP") not in own
                for front in fronts(it, slices.get(key, []))
            ]  # fmt: skip
            text = ruleset(offered)
            if text != self._applied:
                try:
                    await run("ip", "netns", "exec", NODE, "nft", "-f", "-", feed=text)
                    self._applied = text
                except KernelRefusedError as refused:
                    _log.error("the service rules were refused", reason=str(refused)[:2000])
            await self._give_addresses(list(services.values()))

    async def _give_addresses(self, services: list[Object]) -> None:
        """LoadBalancers get an address of the last part of the service range, which the host reaches."""
        prefix = ".".join(self.settings.service_cidr.split(".")[:2]) + ".255."
        taken = {
            i.get("ip")
            for it in services
            for i in ((it.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        }
        for it in services:
            wanted = it["spec"].get("type") == "LoadBalancer"
            ingress = ((it.get("status") or {}).get("loadBalancer") or {}).get("ingress")
            if wanted == bool(ingress):
                continue
            free = next(ip for ip in (f"{prefix}{n}" for n in range(1, 255)) if ip not in taken)
            taken.add(free)
            balancer = {"ingress": [{"ip": free, "ipMode": "VIP"}] if wanted else None}
            with contextlib.suppress(ApiError):
                await self.api.patch(
                    SERVICES, it["metadata"]["namespace"], it["metadata"]["name"], {"status": {"loadBalancer": balancer}},
                    subresource="status",
                )  # fmt: skip

    async def service_address(self, namespace: str, service: str, port: int) -> tuple[str, int]:
        """A ready endpoint of a service, which the daemon can dial; LookupError with the reason when there is none."""
        found = self._world.services.get((namespace, service))
        if found is None:
            raise LookupError(f'service "{service}" not found')
        named = next((it for it in found["spec"].get("ports") or () if it["port"] == port), None)
        if named is None:
            raise LookupError(f'no service port {port} found for service "{service}"')
        ready = ready_endpoints(self._world.slices.get((namespace, service), []), named.get("name") or "")
        if not ready:
            raise LookupError(f'no endpoints available for service "{service}"')
        return ready[0]

    # --- the Node object -----------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        while True:
            try:
                await self._register()
                await self._beat()
            except ApiError as refused:
                _log.warning("the node could not say that it lives", reason=refused.message)
            await asyncio.sleep(_HEARTBEAT_S)

    def _capacity(self) -> tuple[int, int]:
        cpus = self.settings.cpus or os.cpu_count() or 1
        memory = self.settings.memory_mib or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        return cpus, memory

    async def _register(self) -> None:
        name = self.settings.node_name
        labels = {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "node-role.kubernetes.io/control-plane": "",
        }  # fmt: skip
        try:
            node = await self.api.get(NODES, "", name)
        except ApiError:
            node = await self.api.create(NODES, {"metadata": {"name": name, "labels": labels}, "spec": {}})
        held = {it["type"]: it for it in (node.get("status") or {}).get("conditions") or ()}
        conditions = []
        for kind, good, reason, message in (
            (
                "MemoryPressure",
                "False",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
            ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ):
            before = held.get(kind) or {}
            since = before["lastTransitionTime"] if before.get("status") == good else stamp()
            conditions.append({
                "type": kind, "status": good, "reason": reason, "message": message, "lastHeartbeatTime": stamp(),
                "lastTransitionTime": since,
            })  # fmt: skip
        cpus, memory = self._capacity()
        size = {"cpu": str(cpus), "memory": f"{memory}Mi", "pods": "250"}
        status = {
            "capacity": size, "allocatable": size, "conditions": conditions, "nodeInfo": _info(),
            "addresses": [{"type": "InternalIP", "address": NODE_IP}, {"type": "Hostname", "address": name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        }  # fmt: skip
        await self.api.patch(NODES, "", name, {"status": status}, subresource="status")

    async def _beat(self) -> None:
        name, now = self.settings.node_name, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}
        try:
            await self.api.patch(LEASES, "kube-node-lease", name, {"spec": spec})
        except ApiError:
            await self.api.create(
                LEASES, {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": spec}
            )


def _info() -> dict[str, str]:
    machine = Path("/etc/machine-id")
    name = (
        platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
        if Path("/etc/os-release").exists()
        else "Linux"
    )
    return {
        "kubeletVersion": "v1.37.0+skiff", "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64",
        "kernelVersion": platform.release(), "osImage": name, "containerRuntimeVersion": "skiff://0.1.0",
        "machineID": machine.read_text().strip() if machine.exists() else "", "systemUUID": "", "bootID": "",
    }  # fmt: skip
