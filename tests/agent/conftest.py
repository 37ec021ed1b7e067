"""Servers that the agent meets: gRPC, and scripts that say exactly what a test wants said; and the agent in a pod."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509

from lateen.api.crds import manifests as definitions
from lateen.app.control_plane import ControlPlane, authority_of
from lateen.app.settings import Ports, Settings
from lateen.names.identity import Identity
from lateen.testing.ads import until
from lateen.testing.agents import AgentProcess, bridge
from lateen.testing.namespaces import Ground, Namespace
from skiff.apiserver.local import LocalApi
from skiff.kinds import PODS

HEALTH = {"": 1, "shop.Cart": 1, "shop.Sick": 2}

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Scripted = Callable[[Script], AbstractAsyncContextManager[int]]


async def _check(raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
    name = raw[2:].decode()
    if name == "shop.Slow":
        await asyncio.sleep(30)
    if name not in HEALTH:
        await context.abort(grpc.StatusCode.NOT_FOUND, f'unknown service "{name}" — 100 %')
    return b"\x08" + bytes([HEALTH[name]])


@pytest.fixture
async def health_server() -> AsyncIterator[int]:
    """The port of a real gRPC server that says how services of the shop are."""
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(_check)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


@pytest.fixture
def scripted() -> Scripted:
    """A server that does with a connection what a function says; the port."""

    @asynccontextmanager
    async def run(script: Script) -> AsyncIterator[int]:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await script(reader, writer)
                await writer.drain()
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    return run


IDENTITY = Identity("cluster.local", "default", "cart")
ADDRESS, CLIENT = "10.244.9.1", "10.244.9.2"
OBJECTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "cart", "namespace": "default"}},
    {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "cart-1", "namespace": "default", "labels": {"app": "cart", "version": "v7"}},
        "spec": {"serviceAccountName": "cart", "containers": [{"name": "app", "image": "x", "ports": [{"containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": ADDRESS},
    },
]  # fmt: skip


@contextlib.asynccontextmanager
async def control_plane(api_server: Any) -> AsyncIterator[ControlPlane]:
    async with api_server.client() as client:
        it = ControlPlane(
            client, await authority_of(client, Settings()), Settings(ports=Ports(0, 0, 0, 0, 0))
        )
        task = asyncio.ensure_future(it.run())
        try:
            await until(lambda: it.loop.synced.is_set() or task.done())
            yield it
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Pod:
    """An agent, and what it may ask."""

    def __init__(self, agent: AgentProcess, plane: ControlPlane, client: Namespace) -> None:
        self.agent, self.plane, self.client = agent, plane, client

    async def ask(self, path: str, **how: Any) -> Any:
        return await asyncio.to_thread(self.agent.ask, path, **how)

    async def ready(self, **how: Any) -> bool:
        with contextlib.suppress(OSError):
            return (await self.ask("/healthz/ready", **how)).status == 200
        return False

    def leaf(self) -> x509.Certificate:
        chain = self.agent.secret("default")["tls_certificate"]["certificate_chain"]["inline_string"]
        return x509.load_pem_x509_certificate(chain.encode())

    async def serials_shown(self) -> set[str]:
        """Of the certificates Envoy has in use."""
        page = json.loads((await self.ask("/certs", port=15000)).body)
        return {it["serial_number"] for one in page["certificates"] for it in one.get("cert_chain", ())}

    async def shows(self, serial: int) -> bool:
        return f"{serial:x}" in {it.lstrip("0") for it in await self.serials_shown()}


@pytest.fixture
async def pod(api_server: Any, tmp_path: Path) -> AsyncIterator[Pod]:
    ground = Ground()
    namespace, client = ground.plugged(ADDRESS), ground.plugged(CLIENT)
    async with api_server.client() as admin:
        # Without its kinds the control plane waits for them a while.
        for it in [*definitions(), *OBJECTS]:
            made = await admin.create(it)
        await LocalApi(api_server.registry).update(
            PODS, {**made, "status": it["status"]}, subresource="status"
        )
    agent = AgentProcess(tmp_path / "pod", namespace, IDENTITY, pod="cart-1", address=ADDRESS)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    async with control_plane(api_server) as plane, bridge(namespace, 15012, plane.ports.secure):
        agent.trust(plane.authority.roots_pem)
        agent.give_token(api_server.token("default/cart", audience="istio-ca", pod="cart-1"))
        try:
            yield Pod(agent, plane, client)
        finally:
            agent.stop()
            for it in (namespace, client, ground.node):
                it.close()
