"""A proxy made of grpcio: what the tests of the ADS server speak with."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2

from lateen.discovery.loop import Loop
from lateen.discovery.server import DiscoveryService, Peers, server
from lateen.envoy import codec
from lateen.incremental import Database

NODE = "sidecar~10.0.0.1~web-1.default~default.svc.cluster.local"
PATIENCE_S = 20.0


async def until(met: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for a condition; TimeoutError when it does not come."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = met()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.01)


class Delta:
    """One delta stream."""

    def __init__(self, channel: Any, node_id: str = NODE, **metadata: Any) -> None:
        method = channel.stream_stream(
            codec.DELTA_METHOD, request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
        )  # fmt: skip
        self.call = method()
        self._node: tuple[str, dict[str, Any]] | None = (node_id, metadata)

    async def ask(self, type_url: str, *names: str, drop: Sequence[str] = (), have: Mapping[str, str] | None = None,
                  nonce: str = "", error: str = "") -> None:  # fmt: skip
        request = discovery_pb2.DeltaDiscoveryRequest(
            type_url=type_url, resource_names_subscribe=names, resource_names_unsubscribe=drop,
            initial_resource_versions=have or {}, response_nonce=nonce,
        )  # fmt: skip
        if error:
            request.error_detail.message = error
        if self._node:
            request.node.id = self._node[0]
            request.node.metadata.update(self._node[1])
            self._node = None
        await self.call.write(request)

    async def hear(self) -> Any:
        """The next response; EOFError with status and words when the server ended the stream."""
        try:
            found = await asyncio.wait_for(self.call.read(), PATIENCE_S)
        except grpc.aio.AioRpcError as refused:
            raise EOFError(refused.code(), refused.details()) from refused
        if found is grpc.aio.EOF:
            raise EOFError(await self.call.code(), await self.call.details())
        return found

    async def agree(self) -> dict[str, str]:
        """Hear the next response, acknowledge it, and return its names and versions."""
        found = await self.hear()
        await self.ask(found.type_url, nonce=found.nonce)
        return {it.name: it.version for it in found.resources}

    async def silent(self, others: Delta) -> None:
        """Whatever the server owes us has been sent when it has answered another's question that came later."""
        await others.ask("type.googleapis.com/probe", "x")
        assert (await others.hear()).type_url == "type.googleapis.com/probe"
        reading = asyncio.ensure_future(self.call.read())
        try:
            await asyncio.sleep(0.05)
            assert not reading.done(), reading.result()
        finally:
            reading.cancel()


def plain(_: str) -> tuple[None, bool]:
    """All peers are in the clear."""
    return (None, False)


@asynccontextmanager
async def serving(
    db: Database, peers: Peers = plain, *, address: str = "127.0.0.1:0"
) -> AsyncIterator[tuple[DiscoveryService, Loop, int]]:
    """A control plane's ADS on an address of its own (``unix:/path`` too)."""
    loop = Loop(db)
    loop.synced.set()
    service = DiscoveryService(loop, peers, linger_s=0.0)  # what goes away goes at once
    made = server([service.handler()])
    number: int = made.add_insecure_port(address)
    await made.start()
    running = asyncio.ensure_future(loop.run())
    try:
        yield service, loop, number
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await made.stop(0.1)
