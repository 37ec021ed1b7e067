"""How do proxies reach their machines? The ADS of one gRPC server: bytes in, bytes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import structlog

from lateen.discovery.connections import Connection, Delta, Machine, State
from lateen.discovery.introduction import StrangerError, check, proxy
from lateen.discovery.loop import Loop
from lateen.envoy import codec
from lateen.envoy.codec import Asked, MalformedError
from lateen.names.identity import Identity
from lateen.observe import metrics

_log = structlog.get_logger("lateen.discovery")

#: A proxy introduces itself at once, or it is none.
FIRST_WORD_S = 30.0
MAX_MESSAGE = 64 * 1024 * 1024

#: (identity of the certificate, came encrypted) of a gRPC peer.
Peers = Callable[[str], tuple[Identity | None, bool]]


class DiscoveryService:
    """AggregatedDiscoveryService, in both forms."""

    def __init__(self, loop: Loop, peers: Peers) -> None:
        self._loop, self._peers = loop, peers
        self.connections: set[Connection] = set()

    def handler(self) -> grpc.GenericRpcHandler:
        """For ``grpc.aio.Server.add_generic_rpc_handlers``."""
        service, delta = codec.DELTA_METHOD.strip("/").split("/")
        _, state = codec.STATE_METHOD.strip("/").split("/")
        methods = {
            delta: grpc.stream_stream_rpc_method_handler(self._delta),
            state: grpc.stream_stream_rpc_method_handler(self._state),
        }
        return grpc.method_handlers_generic_handler(service, methods)

    async def _delta(self, requests: Any, context: Any) -> None:
        await self._serve(requests, context, Delta(), codec.delta_request)

    async def _state(self, requests: Any, context: Any) -> None:
        await self._serve(requests, context, State(), codec.state_request)

    async def _serve(
        self, requests: Any, context: Any, machine: Machine, decode: Callable[[bytes], Asked]
    ) -> None:
        connection = Connection(machine)
        words = aiter(requests)
        try:
            await self._loop.synced.wait()  # half a picture would take away what a proxy already has
            first = decode(await asyncio.wait_for(anext(words), FIRST_WORD_S))
            await self._join(connection, first, context)
        except (StrangerError, MalformedError) as wrong:
            _log.warning("a proxy was turned away", peer=context.peer(), reason=str(wrong))
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(wrong))
        except (StopAsyncIteration, TimeoutError):
            return
        try:
            await self._converse(connection, first, words, context, decode)
        finally:
            self._leave(connection)

    async def _join(self, connection: Connection, first: Asked, context: Any) -> None:
        if first.node is None:
            raise StrangerError("the first request carries no node")
        it = proxy(first.node)
        identity, encrypted = self._peers(context.peer())
        check(it, identity, encrypted=encrypted)
        connection.proxy = it
        connection.offer(self._loop.join(it, connection))
        self.connections.add(connection)
        metrics.CONNECTED.labels(it.version).inc()
        _log.info("connected", proxy=connection.name, kind=it.kind)

    def _leave(self, connection: Connection) -> None:
        it = connection.proxy
        assert it is not None
        self.connections.discard(connection)
        self._loop.leave(it.key, connection)
        metrics.CONNECTED.labels(it.version).dec()
        _log.info("disconnected", proxy=connection.name)

    async def _converse(
        self, connection: Connection, first: Asked, words: Any, context: Any, decode: Callable[[bytes], Asked]
    ) -> None:
        async def write() -> None:
            while True:
                await context.write(await connection.outbox.get())

        connection.heard(first)
        writer = asyncio.ensure_future(write())
        try:
            async for raw in words:
                connection.heard(decode(raw))
        except (MalformedError, grpc.RpcError, asyncio.InvalidStateError) as wrong:
            _log.warning("a stream ended early", proxy=connection.name, reason=str(wrong))
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)


def server(handlers: Sequence[grpc.GenericRpcHandler]) -> Any:
    """The gRPC server of the control plane, without its ports."""
    made = grpc.aio.server(options=[
        ("grpc.max_receive_message_length", 4 * 1024 * 1024), ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000), ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0), ("grpc.so_reuseport", 0),
    ])  # fmt: skip
    made.add_generic_rpc_handlers(tuple(handlers))
    return made
