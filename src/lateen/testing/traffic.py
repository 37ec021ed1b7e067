"""What do real Envoys do with a mesh? Pods on a ground of their own, served by the real control plane, without Kubernetes."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.authority.serving import names, server_context
from lateen.authority.store import Authority
from lateen.compile.view import view
from lateen.discovery.front import Front
from lateen.discovery.loop import Loop
from lateen.discovery.server import DiscoveryService, server
from lateen.envoy.bootstrap import Node
from lateen.envoy.resource import View
from lateen.incremental import Change
from lateen.names import hostname
from lateen.names.identity import Identity
from lateen.names.keys import ObjectKey, ProxyKey
from lateen.names.metrics import Workload
from lateen.pki.certificates import pem, self_signed
from lateen.registry import endpoints, facts, services, workloads
from lateen.testing import clients
from lateen.testing.applications import Application
from lateen.testing.clients import Answer, pump
from lateen.testing.envoys import EnvoyProcess
from lateen.testing.mesh import changed, pod_object
from lateen.testing.namespaces import CAPTURE, Ground, Namespace

T = TypeVar("T")
_SETTLED_S = 20.0


@dataclass
class Pod:
    """A pod that runs. ``envoy`` is None outside of the mesh."""

    name: str
    address: str
    mesh: TrafficMesh = field(repr=False)
    network: Namespace
    app: Application
    namespace: str = "default"
    envoy: EnvoyProcess | None = None
    proxy: ProxyKey | None = None

    def connect(self, host: str, port: int, timeout: float = clients.TIMEOUT_S) -> socket.socket:
        """A connection of its application."""
        address = self.mesh.address(host, self.namespace)
        return self.network.call(lambda: socket.create_connection((address, port), timeout))

    def http(
        self, url: str, *, method: str = "GET", via: str = "", body: bytes = b"", timeout: float = clients.TIMEOUT_S,
        **headers: str,
    ) -> Answer:  # fmt: skip
        """One request over a connection of its own; ``via`` is the address if not the host's. ``x_a`` means ``x-a``."""
        parts = urlsplit(url)
        assert parts.hostname
        connection = clients.http_connection(
            self.connect(via or parts.hostname, parts.port or 80, timeout), timeout
        )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given.setdefault("host", parts.netloc)
        try:
            return clients.request(connection, method, path, list(given.items()), body)
        finally:
            connection.close()

    def line(self, host: str, port: int, text: str = "", timeout: float = clients.TIMEOUT_S) -> str:
        """The line that comes back over a TCP connection; empty when it is closed without one."""
        with self.connect(host, port, timeout) as made:
            try:
                return clients.line(made, text)
            except ConnectionResetError:
                return ""

    @contextmanager
    def grpc(self, host: str, port: int) -> Iterator[grpc.Channel]:
        """A gRPC channel of its application."""
        authority = f"{host}:{port}"
        with (
            self.mesh.relayed(self, host, port) as path,
            grpc.insecure_channel(
                f"unix:{path}",
                options=[("grpc.default_authority", authority), ("grpc.enable_http_proxy", 0)],
            ) as channel,
        ):
            yield channel

    def say(self, host: str, port: int, text: str = "hello", **metadata: str) -> dict[str, Any]:
        """One gRPC call, and what the application heard."""
        with self.grpc(host, port) as channel:
            call = channel.unary_unary("/echo.Echo/Say")
            pairs = tuple((name.replace("_", "-"), it) for name, it in metadata.items())
            found: dict[str, Any] = json.loads(
                call(text.encode(), timeout=clients.TIMEOUT_S, metadata=pairs, wait_for_ready=False)
            )
            return found


class TrafficMesh:
    """A whole mesh. Objects are YAML; every change returns when all Envoys have it in force."""

    def __init__(self, folder: Path, trust_domain: str = "cluster.local") -> None:
        self.folder, self.trust_domain = folder, trust_domain
        self.ground = Ground()
        self.pods: dict[str, Pod] = {}
        #: Names outside of the mesh, for applications and Envoys; complete before the first Envoy starts.
        self.outside: dict[str, str] = {}
        now = datetime.now(UTC)
        root = self_signed(
            ec.generate_private_key(ec.SECP256R1()), "test", serial=secrets.randbits(127) | 1, now=now, ttl=timedelta(days=1)
        )  # fmt: skip
        self.authority = Authority(root, pem(root.certificate), "test")
        self._confirmed: dict[ProxyKey, View] = {}
        self._replaced: list[tuple[type, Any]] = []
        self._sockets = itertools.count()
        self._order: tuple[type, ...] = ()
        self._late_s = 0.0
        self._events = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="mesh", daemon=True)
        self._thread.start()
        self._on_loop(self._start())

    def _live(self) -> None:
        with self.ground.node.entered():  # the control plane is a process of the node
            asyncio.set_event_loop(self._events)
            self._events.run_forever()

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._events).result(60)

    async def _start(self) -> None:
        self.loop = Loop(facts.new_database())
        self.loop.synced.set()
        self.front: Front | None = None
        self.service = DiscoveryService(
            self.loop, lambda name: self.front.peer(name) if self.front else (None, False), linger_s=0.0
        )
        self._grpc = server([self.service.handler()])
        self.front = Front(self._grpc.add_insecure_port("127.0.0.1:0"))
        await self._grpc.start()
        tls = server_context(self.authority, names("istiod", "istio-system"), clients=True)
        await self.front.start(15012, lambda: tls)
        self._running = asyncio.ensure_future(self.loop.run())

    # --- pods ------------------------------------------------------------------------------

    def pod(
        self, name: str, address: str, labels: Mapping[str, str], *, namespace: str = "default", account: str = "",
        sidecar: bool = True, kind: str = "sidecar", ports: Mapping[str, int] | None = None, tls: ssl.SSLContext | None = None,
        known: bool = True, proxy_config: Mapping[str, Any] | None = None,
    ) -> Pod:  # fmt: skip
        """Start a pod with its application and its Envoy; ``known`` pods are objects of the cluster."""
        network = self.ground.plugged(address)
        made = Pod(name, address, self, network, Application(name, network, tls), namespace)
        self.pods[name] = made
        if kind == "sidecar":
            self._on_loop(made.app.start())  # a gateway's pod is nothing but its Envoy
        else:
            network.run("sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=0")
        marks = dict(labels)
        if sidecar and kind == "sidecar":
            marks["security.istio.io/tlsMode"] = "istio"
            network.run("nft", "-f", "-", text=CAPTURE)
        account = account or marks.get("app", name)
        if known:
            self._put(changed(pod_object(name, namespace, marks, account, address, ports or {})))
        if sidecar:
            self._start_envoy(made, kind, marks, account, proxy_config or {})
        return made

    def recertify(self, name: str, identity: Identity | None = None) -> None:
        """A fresh certificate for a pod, of its own identity or another."""
        pod = self.pods[name]
        assert pod.envoy
        own = Identity(self.trust_domain, pod.namespace, str(pod.envoy.node.metadata["SERVICE_ACCOUNT"]))
        found = self._on_loop(self._workload(ObjectKey(pod.namespace, pod.name)))
        pod.envoy.certify(self.authority.issuer, self.authority.root_pem, identity or own, found)

    def _start_envoy(
        self, pod: Pod, kind: str, labels: Mapping[str, str], account: str, config: Mapping[str, Any]
    ) -> None:
        found = self._on_loop(self._workload(ObjectKey(pod.namespace, pod.name)))
        identity = Identity(self.trust_domain, pod.namespace, account)
        node_id = f"{kind}~{pod.address}~{pod.name}.{pod.namespace}~{pod.namespace}.svc.cluster.local"
        metadata = {
            "LABELS": dict(labels), "SERVICE_ACCOUNT": account, "NAMESPACE": pod.namespace, "ISTIO_VERSION": "1.0",
            "WORKLOAD": found.packed(), "PRINCIPAL": str(identity),
            "PROXY_CONFIG": dict(config),
        }  # fmt: skip
        node = Node(node_id, f"{account}.{pod.namespace}", metadata)
        pod.envoy = EnvoyProcess(self.folder / pod.name, pod.network, node)
        pod.proxy = ProxyKey(node_id)
        pod.envoy.certify(self.authority.issuer, self.authority.root_pem, identity, found)
        pod.envoy.start(self.outside)

    async def _workload(self, key: ObjectKey) -> Workload:
        it = workloads.described(self.loop.db, key)
        assert it is not None
        return Workload(it.name, key.namespace, it.canonical_name, it.canonical_revision, "Kubernetes")

    # --- objects ---------------------------------------------------------------------------

    def apply(self, *texts: str) -> None:
        """Objects that are new or different; returns when they are in force everywhere."""
        self.put(changed(*texts))

    def put(self, changes: list[Change]) -> None:
        """As ``apply``, of changes."""
        self._put(changes)
        self.settle()

    @contextmanager
    def torn(self, *order: type, late_s: float = 0.3) -> Iterator[None]:
        """Until the end each kind of object arrives later than the one before it, as watches are independent.

        Kinds that are not named come together, last.
        """
        self._order, self._late_s = order, late_s
        try:
            yield
        finally:
            self._order = ()

    @contextmanager
    def having(self, *objects: str | Change) -> Iterator[None]:
        """With these objects, or changes such as a removal; afterwards everything is as it was."""
        changes = [one for it in objects for one in ([it] if isinstance(it, Change) else changed(it))]
        before = [Change(it.table, it.key, self.loop.db.get(it.table, it.key)) for it in changes]
        self._put(changes)
        try:
            self.settle()
            yield
        finally:
            self._put(before)
            self.settle()

    def replace(self, changes: list[Change]) -> None:
        """These objects in place of all that the last call put; ``settle`` says when they are in force."""
        told = {(it.table, it.key): it for it in changes}
        gone = [Change(table, key, None) for table, key in self._replaced if (table, key) not in told]
        self._replaced = list(told)
        self._put([*gone, *told.values()])

    def _put(self, changes: list[Change]) -> None:
        async def put(some: list[Change]) -> None:
            self.loop.put(some)
            while not self.loop.idle:
                await asyncio.sleep(0.005)

        pieces = [[it for it in changes if it.table is table] for table in self._order]
        pieces.append([it for it in changes if it.table not in self._order])
        for number, piece in enumerate(filter(None, pieces)):
            time.sleep(self._late_s if number else 0.0)
            self._on_loop(put(piece))

    def settle(self) -> None:
        """Return when every Envoy has its view in force; fail when one refuses it."""
        end = time.monotonic() + _SETTLED_S
        while missing := self._missing():
            assert time.monotonic() < end, f"not in force after {_SETTLED_S:.0f} s: {missing}"
            time.sleep(0.01)

    def _missing(self) -> str:
        for pod in self.pods.values():
            ended = pod.envoy and not pod.envoy.runs()
            assert not ended, f"the Envoy of {pod.name} ended: {pod.envoy.log[-2000:] if pod.envoy else ''}"
        views, missing = self._on_loop(self._expected())
        for pod in self.pods.values():
            if missing or pod.envoy is None or pod.proxy is None:
                continue
            wanted = views[pod.proxy]
            if self._confirmed.get(pod.proxy) == wanted:
                continue
            if lacks := pod.envoy.has(wanted):
                missing = f"{pod.name}: {lacks}"
            else:
                self._confirmed[pod.proxy] = wanted
        return missing

    async def _expected(self) -> tuple[dict[ProxyKey, View], str]:
        connected = {it.proxy.key: it for it in self.service.connections if it.proxy}
        expected: dict[ProxyKey, View] = {}
        missing = "" if self.loop.idle else "changes are still under way"
        for pod in self.pods.values():
            if pod.proxy is None:
                continue
            connection = connected.get(pod.proxy)
            if connection is None:
                return {}, f"{pod.name} is not connected"
            for kind, it in connection.machine.side.standings().items():
                assert not it.error, f"{pod.name} refused {kind}: {it.error}"
                if not it.synced:
                    missing = f"{pod.name} has not acknowledged {kind}"
            expected[pod.proxy] = view(self.loop.db, pod.proxy)
        return expected, missing

    # --- names and relays ------------------------------------------------------------------

    def address(self, host: str, namespace: str) -> str:
        """What the cluster's DNS would say."""
        if host.replace(".", "").isdigit():
            return host
        return self._on_loop(self._resolve(host, namespace))

    async def _resolve(self, host: str, namespace: str) -> str:
        db = self.loop.db
        domain = facts.mesh_config(db).domain
        for name in (hostname.full(host, namespace, domain), f"{host}.svc.{domain}", f"{host}.{domain}"):
            key = services.by_hostname(db, name)
            key = services.meant(db, key) if key else None
            service = services.service(db, key) if key else None
            if key is None or service is None:
                continue
            if service.external_name:
                return self.outside[service.external_name]
            if service.addresses:
                return service.addresses[0]
            return endpoints.endpoints(db, key, service.ports[0].name)[0].address
        return self.outside[host]

    @contextmanager
    def relayed(self, pod: Pod, host: str, port: int) -> Iterator[Path]:
        """A unix socket whose connections continue from a pod, for clients that make their own sockets."""
        path = self.folder / f"relay-{next(self._sockets)}"
        address = self.address(host, pod.namespace)

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made = pod.network.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            made.setblocking(False)
            try:
                await self._events.sock_connect(made, (address, port))
                there, back = await asyncio.open_connection(sock=made)
                await asyncio.gather(pump(reader, back), pump(there, writer))
            except OSError:
                writer.close()

        relay = self._on_loop(asyncio.start_unix_server(connected, path))
        try:
            yield path
        finally:
            self._events.call_soon_threadsafe(relay.close)

    def close(self) -> None:
        """End everything that was started."""
        for pod in self.pods.values():
            if pod.envoy:
                pod.envoy.stop()
        self._on_loop(self._end())
        self._events.call_soon_threadsafe(self._events.stop)
        self._thread.join(10)
        for pod in self.pods.values():
            pod.network.close()
        self.ground.node.close()

    async def _end(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        for pod in self.pods.values():
            await pod.app.stop()
        assert self.front is not None
        await self.front.stop()
        await self._grpc.stop(0.1)
