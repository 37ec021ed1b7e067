"""The ADS server and a real gRPC client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import grpc.aio
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from lateen.discovery.loop import Loop
from lateen.discovery.server import DiscoveryService
from lateen.envoy import codec
from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from lateen.names.identity import Identity
from lateen.testing.ads import NODE, Delta, serving
from lateen.testing.mesh import changed, endpoint_slice, mesh, pod, removed, service
from lateen.xds.limits import MOST_TYPES

WEB = (
    pod("web-1", "10.0.0.1", "web", ports={"http": 8080}), service("web", {"http": 80}, "10.96.0.10", target=8080),
    pod("reviews-1", "10.0.0.2", "reviews", ports={"http": 9080}), pod("reviews-2", "10.0.0.3", "reviews"),
    service("reviews", {"http": 9080}, "10.96.0.11"),
    endpoint_slice("reviews", {"http": 9080}, ("reviews-1", "10.0.0.2")),
)  # fmt: skip
REVIEWS = "outbound|9080||reviews.default.svc.cluster.local"


class World:
    """A serving control plane, and streams to it."""

    def __init__(self, parts: tuple[DiscoveryService, Loop, int], stack: AsyncExitStack) -> None:
        self.service, self.loop, self.port = parts
        self._stack = stack

    async def stream(self, node_id: str = NODE, **metadata: object) -> Delta:
        channel = await self._stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{self.port}"))
        return Delta(channel, node_id, **metadata)

    async def until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not met():
                await asyncio.sleep(0.01)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(await stack.enter_async_context(serving(mesh(*WEB))), stack)


async def connected(world: World) -> tuple[Delta, dict[str, dict[str, str]]]:
    """A proxy that has everything, as Envoy asks for it."""
    it = await world.stream()
    await it.ask(CLUSTER)
    have = {CLUSTER: await it.agree()}
    await it.ask(ENDPOINT, *(name for name in have[CLUSTER] if name.startswith("outbound")))
    have[ENDPOINT] = await it.agree()
    await it.ask(LISTENER)
    have[LISTENER] = await it.agree()
    await it.ask(ROUTE, "80", "9080")
    have[ROUTE] = await it.agree()
    return it, have


async def test_every_type_is_answered_and_shown_as_synced(world: World) -> None:
    _, have = await connected(world)
    assert REVIEWS in have[CLUSTER]
    assert REVIEWS in have[ENDPOINT]
    assert "virtualInbound" in have[LISTENER]
    assert set(have[ROUTE]) == {"80", "9080"}
    [entry] = [it.standing(0.0) for it in world.service.connections]
    assert entry["proxy"] == "web-1.default"
    await world.until(lambda: all(
        next(iter(world.service.connections)).standing(0.0)[f"{it}_status"] == "SYNCED"
        for it in ("cluster", "endpoint", "listener", "route")
    ))  # fmt: skip


async def test_a_change_reaches_only_what_it_concerns(world: World) -> None:
    it, have = await connected(world)
    world.loop.put(changed(
        endpoint_slice("reviews", {"http": 9080}, ("reviews-1", "10.0.0.2"), ("reviews-2", "10.0.0.3")),
    ))  # fmt: skip
    found = await it.hear()
    assert (found.type_url, [one.name for one in found.resources]) == (ENDPOINT, [REVIEWS])
    assert found.resources[0].version != have[ENDPOINT][REVIEWS]
    await it.silent(await world.stream("sidecar~10.0.0.9~other.default~default.svc.cluster.local"))


async def test_a_refusal_is_shown_and_not_repeated(world: World) -> None:
    it = await world.stream()
    await it.ask(CLUSTER)
    found = await it.hear()
    await it.ask(CLUSTER, nonce=found.nonce, error="no such thing")
    [connection] = world.service.connections
    await world.until(lambda: connection.standing(0.0)["cluster_status"] == "ERROR")
    assert connection.standing(0.0)["cluster_error"] == "no such thing"
    await it.silent(await world.stream("sidecar~10.0.0.9~other.default~default.svc.cluster.local"))


async def test_a_proxy_that_reconnects_is_sent_nothing_again(world: World) -> None:
    it, have = await connected(world)
    it.call.cancel()
    again = await world.stream()
    for type_url, held in have.items():
        names = () if type_url in (CLUSTER, LISTENER) else tuple(held)
        await again.ask(type_url, *names, have=held)
        found = await again.hear()
        assert (found.type_url, list(found.resources), list(found.removed_resources)) == (type_url, [], [])
        await again.ask(type_url, nonce=found.nonce)


async def test_a_restarted_control_plane_makes_the_same_versions() -> None:
    async with AsyncExitStack() as stack:
        _, have = await connected(World(await stack.enter_async_context(serving(mesh(*WEB))), stack))
    async with AsyncExitStack() as stack:
        # What Kubernetes lists comes in another order every time.
        _, again = await connected(
            World(await stack.enter_async_context(serving(mesh(*reversed(WEB)))), stack)
        )
    assert again == have


async def test_what_is_deleted_is_removed(world: World) -> None:
    from lateen.api.core import Service

    it, _ = await connected(world)
    world.loop.put([removed(Service, "reviews")])
    told = [await it.hear() for _ in range(2)]
    assert {one.type_url for one in told} == {LISTENER, ROUTE}, "what may use it is told first"
    for one in told:
        await it.ask(one.type_url, nonce=one.nonce)
    found = await it.hear()
    assert (found.type_url, list(found.removed_resources)) == (CLUSTER, [REVIEWS])


@pytest.mark.parametrize(
    ("node", "said"),
    [("", "not of the form"), ("web", "not of the form"), ("sidecar~1~nodot~d", "not of the form"),
     ("ztunnel~1~a.b~d", "not of the form"), ("sidecar~1~.b~d", "not of the form"), ("x" * 5000, "not of the form")],
)  # fmt: skip
async def test_a_proxy_that_is_none_hears_why(world: World, node: str, said: str) -> None:
    it = await world.stream(node)
    await it.ask(CLUSTER)
    with pytest.raises(EOFError) as refused:
        await it.hear()
    assert refused.value.args[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert said in refused.value.args[1]
    assert not world.service.connections


async def test_odd_metadata_does_no_harm(world: World) -> None:
    it = await world.stream(
        LABELS=["no", "mapping"], SERVICE_ACCOUNT={"a": 1}, CLUSTER_ID=[], ISTIO_VERSION=7
    )
    await it.ask(CLUSTER)
    assert REVIEWS in await it.agree()


async def test_bytes_that_are_no_message_end_the_stream_and_only_it(world: World) -> None:
    it, _ = await connected(world)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{world.port}") as channel:
        call = channel.stream_stream(codec.DELTA_METHOD)()
        await call.write(b"\xff\xff\xff")
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    await it.ask(ENDPOINT, REVIEWS)
    assert REVIEWS in await it.agree()


async def test_many_types_end_the_stream(world: World) -> None:
    it = await world.stream()
    for number in range(MOST_TYPES + 1):
        await it.ask(f"type.googleapis.com/t{number}", "a")
    with pytest.raises(EOFError) as refused:  # noqa: PT012
        while True:
            await it.hear()
    assert refused.value.args[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    await world.until(lambda: not world.service.connections)


async def test_nobody_changes_what_another_of_the_same_name_is_told(world: World) -> None:
    it, _ = await connected(world)
    forged = await world.stream(LABELS={"app": "else"}, NAMESPACE="kube-system")
    await forged.ask(CLUSTER)
    assert REVIEWS in await forged.agree()
    await it.silent(await world.stream("sidecar~10.0.0.9~other.default~default.svc.cluster.local"))
    assert len({one.proxy.key for one in world.service.connections}) == 3


async def test_a_slow_reader_costs_one_answer_for_each_type(world: World) -> None:
    it = await world.stream()
    await it.ask(CLUSTER)
    await world.until(lambda: len(world.service.connections) == 1)
    [connection] = world.service.connections
    for number in range(200):
        world.loop.put(changed(service(f"s{number}", {"http": 9000 + number}, f"10.97.0.{number}")))
        if number % 20 == 0:
            await asyncio.sleep(0.03)
    await world.until(lambda: world.loop.db.revision > 5)
    assert connection.outbox.qsize() <= 1
    await it.agree()
    later: dict[str, str] = {}
    answers = 0
    while "outbound|9199||s199.default.svc.cluster.local" not in later:
        later |= await it.agree()
        answers += 1
    assert answers <= 2, "what came while it was silent is one answer"


async def test_state_of_the_world_is_served_too(world: World) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{world.port}") as channel:
        call = channel.stream_stream(
            codec.STATE_METHOD, request_serializer=discovery_pb2.DiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DiscoveryResponse.FromString,
        )()  # fmt: skip
        request = discovery_pb2.DiscoveryRequest(type_url=ENDPOINT, resource_names=[REVIEWS])
        request.node.id = NODE
        await call.write(request)
        found = await asyncio.wait_for(call.read(), 20)
        assert (found.type_url, len(found.resources)) == (ENDPOINT, 1)


async def test_nobody_takes_the_place_of_a_pod_that_runs_as_another() -> None:
    own = Identity("cluster.local", "default", "web")
    async with AsyncExitStack() as stack:
        world = World(await stack.enter_async_context(serving(mesh(*WEB), lambda _: (own, True))), stack)
        it = await world.stream(NODE.replace("web-1", "reviews-1"), SERVICE_ACCOUNT="web")
        await it.ask(CLUSTER)
        with pytest.raises(EOFError, match="the pod default/reviews-1 runs as reviews") as refused:
            await it.hear()
        assert refused.value.args[0] is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("identity", "status"),
    [
        (None, grpc.StatusCode.UNAUTHENTICATED),
        (Identity("cluster.local", "default", "other"), grpc.StatusCode.UNAUTHENTICATED),
        (Identity("cluster.local", "other", "web"), grpc.StatusCode.UNAUTHENTICATED),
        (Identity("cluster.local", "default", "web"), None),
    ],
)
async def test_an_encrypted_proxy_is_whom_its_certificate_names(
    identity: Identity | None, status: grpc.StatusCode | None
) -> None:
    async with AsyncExitStack() as stack:
        world = World(await stack.enter_async_context(serving(mesh(*WEB), lambda _: (identity, True))), stack)
        it = await world.stream(SERVICE_ACCOUNT="web")
        await it.ask(CLUSTER)
        if status is None:
            assert REVIEWS in await it.agree()
            return
        with pytest.raises(EOFError) as refused:
            await it.hear()
        assert refused.value.args[0] is status
