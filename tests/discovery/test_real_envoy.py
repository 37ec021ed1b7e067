"""A real Envoy through the death of its control plane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from lateen.envoy.bootstrap import Node
from lateen.envoy.resource import CLUSTER, LISTENER, ROUTE
from lateen.observe import metrics
from lateen.testing.ads import serving, until
from lateen.testing.alone import LoneEnvoy
from lateen.testing.mesh import changed, endpoint_slice, mesh, pod, service

NODE = Node(
    "sidecar~10.0.0.1~web-1.default~default.svc.cluster.local", "web.default", {"NAMESPACE": "default"}
)
MESH = (
    pod("web-1", "10.0.0.1", "web", ports={"http": 8080}), service("web", {"http": 80}, "10.96.0.10", target=8080),
    pod("reviews-1", "10.0.0.2", "reviews", ports={"http": 9080}), service("reviews", {"http": 9080}, "10.96.0.11"),
    endpoint_slice("reviews", {"http": 9080}, ("reviews-1", "10.0.0.2")), service("db", {"tcp": 5432}, "10.96.0.12"),
)  # fmt: skip
COUNTERS = (
    "listener_manager.listener_added", "listener_manager.listener_modified", "listener_manager.listener_removed",
    "cluster_manager.cluster_added", "cluster_manager.cluster_modified", "cluster_manager.cluster_removed",
)  # fmt: skip


@pytest.fixture
async def envoy(tmp_path: Path) -> AsyncIterator[LoneEnvoy]:
    it = LoneEnvoy(tmp_path, NODE)
    yield it
    it.end()


def pushed(kind: str) -> float:
    found: float = metrics.PUSHES.labels(kind)._value.get()
    return found


@pytest.mark.root
async def test_it_keeps_everything_and_is_sent_nothing_again(envoy: LoneEnvoy, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/ads"
    async with AsyncExitStack() as stack:
        service_, _, _ = await stack.enter_async_context(serving(mesh(*MESH), address=address))
        async with asyncio.timeout(40):
            while not await asyncio.to_thread(envoy.live):
                await asyncio.sleep(0.05)
        [connection] = service_.connections
        await until(
            lambda: all(
                connection.standing(0.0).get(f"{it}_status") == "SYNCED" for it in ("listener", "route")
            )
        )
        assert not any(it.error for it in connection.machine.side.standings().values())
        before = [await asyncio.to_thread(envoy.stat, it) for it in COUNTERS]
        listeners = await asyncio.to_thread(envoy.json, "/listeners?format=json")
    # Dead. Envoy goes on with what it has, and finds the next one, which lists the objects in another order.
    assert await asyncio.to_thread(envoy.json, "/listeners?format=json") == listeners
    async with serving(mesh(*reversed(MESH)), address=address) as (service_, loop, _):
        await until(lambda: len(service_.connections) == 1)
        [connection] = service_.connections
        await until(lambda: {CLUSTER, LISTENER, ROUTE} <= set(connection.machine.side.standings()))
        await until(
            lambda: all(it.synced and it.acked for it in connection.machine.side.standings().values())
        )
        assert [await asyncio.to_thread(envoy.stat, it) for it in COUNTERS] == before, (
            "nothing was sent again"
        )
        # And it hears what is new.
        loop.put(changed(service("more", {"http": 9080}, "10.96.0.13")))

        async def heard() -> bool:
            return "outbound|9080||more.default.svc.cluster.local" in str(await asyncio.to_thread(envoy.json))

        await until(heard)
