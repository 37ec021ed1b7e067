"""A real gRPC client and real gRPC servers, without any proxy, by way of our control plane.

Run by ``test_proxyless.py`` in a network of its own, which has the servers' address: a mesh calls nobody at a loopback one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from lateen.discovery.loop import Loop
from lateen.testing.ads import serving
from lateen.testing.mesh import changed, mesh, pod, service

#: Of this network's loopback device.
ADDRESS = "10.77.0.1"
BOOTSTRAP = {
    "xds_servers": [{"channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}],
    "node": {
        "id": "sidecar~127.0.0.1~client-1.default~default.svc.cluster.local",
        "metadata": {"GENERATOR": "grpc", "NAMESPACE": "default"},
    },
    "server_listener_resource_name_template": "xds.istio.io/grpc/lds/inbound/%s",
}  # fmt: skip

#: Calls as often as it is told on standard input, and prints who answered each time.
CLIENT = """
import sys, grpc
channel = grpc.insecure_channel(sys.argv[1])
call = channel.unary_unary("/test.Echo/Who")
for line in sys.stdin:
    method, *pairs = line.split()
    try:
        metadata = [tuple(it.split("=")) for it in pairs]
        said = channel.unary_unary("/test.Echo/" + method)(b"", timeout=15, wait_for_ready=True, metadata=metadata)
        print(said.decode(), flush=True)
    except grpc.RpcError as wrong:
        print(wrong.code().name, wrong.details(), flush=True)
"""

#: An xDS-enabled server: it serves when the control plane says so.
SERVER = """
import sys, grpc
from concurrent import futures
def who(request, context): return b"xds server"
handler = grpc.method_handlers_generic_handler("test.Echo", {"Who": grpc.unary_unary_rpc_method_handler(who)})
server = grpc.server(futures.ThreadPoolExecutor(2), xds=True)
server.add_generic_rpc_handlers((handler,))
server.add_insecure_port(sys.argv[1])
server.start()
print("started", flush=True)
sys.stdin.read()
server.stop(0)
"""


class Process:
    """A program that is told and answers by lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        assert self._process.stdout
        return (await asyncio.wait_for(self._process.stdout.readline(), 40)).decode().strip()

    async def call(self, method: str = "Who", *metadata: str) -> str:
        assert self._process.stdin
        self._process.stdin.write(f"{method} {' '.join(metadata)}\n".encode())
        return await self.line()


@asynccontextmanager
async def program(folder: Path, port: int, text: str, argument: str) -> AsyncIterator[Process]:
    config = json.loads(json.dumps(BOOTSTRAP))
    config["xds_servers"][0]["server_uri"] = f"127.0.0.1:{port}"
    environment = {**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(config)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", text, argument, env=environment, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Process(process)
    finally:
        process.kill()
        await process.wait()


async def answering(stack: AsyncExitStack, name: str) -> int:
    """A gRPC server that says its name."""

    async def who(request: bytes, context: Any) -> bytes:
        return name.encode()

    server = grpc.aio.server()
    methods = {it: grpc.unary_unary_rpc_method_handler(who) for it in ("Who", "Other")}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))
    port = server.add_insecure_port(f"{ADDRESS}:0")
    await server.start()
    stack.push_async_callback(server.stop, 0)
    return port


def backends(*ports: int, names: Sequence[str] = ("echo-1", "echo-2")) -> str:
    """An EndpointSlice for each port: endpoints of one slice share theirs."""
    import yaml

    made = []
    for number, (port, name) in enumerate(zip(ports, names, strict=False)):
        target = {"kind": "Pod", "name": name, "namespace": "default"}
        made.append({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"echo-{number}", "namespace": "default", "labels": {"kubernetes.io/service-name": "echo"}},
            "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}, "targetRef": target}],
            "ports": [{"name": "grpc", "port": port, "protocol": "TCP"}],
        })  # fmt: skip
    return yaml.safe_dump_all(made)


CANARY = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec: {host: echo, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
  - match: [{headers: {user: {exact: tester}}}]
    corsPolicy: {allowOrigins: [{exact: a}]}
    route: [{destination: {host: echo, subset: v2}}]
  - match: [{uri: {prefix: /test.Echo/Other}}]
    fault: {abort: {grpcStatus: RESOURCE_EXHAUSTED, percentage: {value: 100}}}
    route: [{destination: {host: echo, subset: v1}}]
  - timeout: 10s
    retries: {attempts: 2, perTryTimeout: 2s, retryOn: "unavailable,5xx"}
    route: [{destination: {host: echo, subset: v1}, weight: 100}, {destination: {host: echo, subset: v2}, weight: 0}]
"""


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as it:
        yield it


async def world(stack: AsyncExitStack) -> tuple[Loop, int, int, int]:
    """(loop, port of ADS, ports of two servers) of a mesh that knows the service ``echo``."""
    one, two = await answering(stack, "v1"), await answering(stack, "v2")
    db = mesh(
        pod("echo-1", "10.0.0.1", "echo"), pod("echo-2", "10.0.0.2", "echo", version="v2"),
        service("echo", {"grpc": 7070}), backends(one, two),
    )  # fmt: skip
    _, loop, port = await stack.enter_async_context(serving(db))
    return loop, port, one, two


@pytest.mark.parametrize("name", ["echo.default.svc.cluster.local:7070", "echo:7070", "echo.default:7070"])
async def test_a_channel_by_name_reaches_every_endpoint(
    stack: AsyncExitStack, tmp_path: Path, name: str
) -> None:
    _, port, *_ = await world(stack)
    client = await stack.enter_async_context(program(tmp_path, port, CLIENT, f"xds:///{name}"))
    heard: set[str] = set()
    async with asyncio.timeout(40):
        while heard != {"v1", "v2"}:
            heard.add(await client.call())
    assert heard == {"v1", "v2"}


async def test_it_follows_rules_and_endpoints_as_they_change(stack: AsyncExitStack, tmp_path: Path) -> None:
    loop, port, one, _ = await world(stack)
    client = await stack.enter_async_context(
        program(tmp_path, port, CLIENT, "xds:///echo.default.svc.cluster.local:7070")
    )
    assert await client.call() in ("v1", "v2")
    loop.put(changed(CANARY))
    async with asyncio.timeout(40):
        while await client.call("Who", "user=tester") != "v2" or not (await client.call("Other")).startswith(
            "RESOURCE"
        ):
            await asyncio.sleep(0.05)
    assert {await client.call() for _ in range(10)} == {"v1"}
    # v1 moves to another server: the same channel follows.
    three = await answering(stack, "v1 moved")
    loop.put(changed(backends(three)))
    async with asyncio.timeout(40):
        while await client.call() != "v1 moved":
            await asyncio.sleep(0.05)
    assert one != three


async def test_a_server_is_told_what_it_serves(stack: AsyncExitStack, tmp_path: Path) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    db = mesh(
        pod("client-1", "127.0.0.1", "echo", ports={"grpc": free}),
        service("echo", {"grpc": 7070}, target=free),
    )
    _, _, port = await stack.enter_async_context(serving(db))
    server = await stack.enter_async_context(program(tmp_path, port, SERVER, f"0.0.0.0:{free}"))
    assert await server.line() == "started"
    async with grpc.aio.insecure_channel(f"127.0.0.1:{free}") as channel:
        call = channel.unary_unary("/test.Echo/Who")
        assert await call(b"", timeout=40, wait_for_ready=True) == b"xds server"
