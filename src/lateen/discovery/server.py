"""How do proxies reach their machines? The ADS of one gRPC server: bytes in, bytes out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Never

import grpc
import grpc.aio
import structlog

from lateen.discovery.connections import Budget, Connection, Machine, delta, state
from lateen.discovery.introduction import ImpostorError, StrangerError, check, proxy
from lateen.discovery.loop import Loop
from lateen.envoy import codec
from lateen.envoy.codec import Asked, MalformedError
from lateen.names.identity import Identity
from lateen.names.keys import ObjectKey
from lateen.observe import metrics
from lateen.registry import workloads
from lateen.registry.facts import Proxy
from lateen.xds.limits import GreedyError

_log = structlog.get_logger("lateen.discovery")

#: A proxy introduces itself at once, or it is none.
FIRST_WORD_S = 30.0
#: What is not written to a proxy by then is not written.
CLOSING_S = 1.0
MAX_MESSAGE = 64 * 1024 * 1024

#: (identity of the certificate, came encrypted) of a gRPC peer.
Peers = Callable[[str], tuple[Identity | None, bool]]


#: Objects of one ``kubectl apply`` come one after the other, through admission and watches: a rule whose subset was
#: renamed by the object before it still finds the old one for so long.
LINGER_S = 3.0


class DiscoveryService:
    """AggregatedDiscoveryService, in both forms. What goes away stays with a proxy for ``linger_s`` at least."""

    def __init__(
        self, loop: Loop, peers: Peers, address: Callable[[str], str] = str, *, linger_s: float = LINGER_S
    ) -> None:
        self._loop, self._peers = loop, peers
        self._linger_s = linger_s
        self._address = address  # where a peer really is
        self._versions: Counter[str] = Counter()
        self.connections: dict[Connection, None] = {}
        self._streams: set[asyncio.Task[Any]] = set()
        self._budgets: dict[str, Budget] = {}  # of gRPC peers
        self._ending = asyncio.Event()

    async def close(self) -> None:
        """End every stream with a word, so that proxies look for another control plane at once."""
        self._ending.set()
        if self._streams:
            await asyncio.wait(self._streams, timeout=CLOSING_S)

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
        await self._serve(requests, context, delta(self._linger_s), codec.delta_request)

    async def _state(self, requests: Any, context: Any) -> None:
        await self._serve(requests, context, state(self._linger_s), codec.state_request)

    async def _serve(
        self, requests: Any, context: Any, machine: Machine[Any], decode: Callable[[bytes], Asked]
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)  # not before the last word is said
        admitted = asyncio.ensure_future(self._admitted(requests, context, machine, decode))
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait({admitted, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for it in (admitted, ending):
                it.cancel()
            await asyncio.gather(admitted, ending, return_exceptions=True)
        if not admitted.cancelled():
            admitted.result()
        if self._ending.is_set():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this control plane ends")

    async def _admitted(
        self, requests: Any, context: Any, machine: Machine[Any], decode: Callable[[bytes], Asked]
    ) -> None:
        words = aiter(requests)
        try:
            await self._loop.synced.wait()  # half a picture would take away what a proxy already has
            first = decode(await asyncio.wait_for(anext(words), FIRST_WORD_S))
            introduced = self._introduced(first, context)
            budget = self._budgets.setdefault(context.peer(), Budget())
            connection = Connection(machine, introduced, budget)
            try:
                budget.charge(connection, 0)
                self._join(connection)
                await self._converse(connection, first, words, context, decode)
            finally:
                self._leave(connection)
                budget.streams.pop(connection, None)
                if not budget.streams:
                    self._budgets.pop(context.peer(), None)
        except ImpostorError as wrong:
            await self._turn_away(context, grpc.StatusCode.UNAUTHENTICATED, wrong)
        except GreedyError as wrong:
            await self._turn_away(context, grpc.StatusCode.RESOURCE_EXHAUSTED, wrong)
        except (StrangerError, MalformedError) as wrong:
            await self._turn_away(context, grpc.StatusCode.INVALID_ARGUMENT, wrong)
        except TimeoutError:
            late = TimeoutError(f"the first request did not come within {FIRST_WORD_S:.0f} s")
            await self._turn_away(context, grpc.StatusCode.DEADLINE_EXCEEDED, late)
        except StopAsyncIteration:
            return

    async def _turn_away(self, context: Any, status: grpc.StatusCode, reason: Exception) -> None:
        metrics.TURNED_AWAY.labels(status.name).inc()
        peer = self._address(context.peer())
        _log.warning("a proxy was turned away", peer=peer, status=status.name, reason=str(reason))
        await context.abort(status, str(reason))

    def _introduced(self, first: Asked, context: Any) -> Proxy:
        if first.node is None:
            raise StrangerError("the first request carries no node")
        it = proxy(first.node)
        identity, encrypted = self._peers(context.peer())
        check(it, identity, encrypted=encrypted)  # before anything is looked up for a stranger
        with self._loop.db.peeking():
            known = workloads.described(self._loop.db, ObjectKey(it.namespace, it.pod))
        check(it, identity, encrypted=encrypted, account=known.service_account if known else "")
        return it

    def _join(self, connection: Connection) -> None:
        connection.proxy = self._loop.join(connection.proxy, connection)
        self.connections[connection] = None
        self._counted(connection.proxy.version, 1)
        _log.info("connected", proxy=connection.name, kind=connection.proxy.kind)

    def _leave(self, connection: Connection) -> None:
        self._loop.leave(connection.proxy.key, connection)
        if connection in self.connections:
            del self.connections[connection]
            self._counted(connection.proxy.version, -1)
        _log.info("disconnected", proxy=connection.name)

    def _counted(self, version: str, difference: int) -> None:
        self._versions[version] += difference
        if self._versions[version]:
            metrics.CONNECTED.labels(version).set(self._versions[version])
        else:
            del self._versions[version]  # versions are proxies' own words: none is kept for ever
            metrics.CONNECTED.remove(version)

    async def _converse(
        self, connection: Connection, first: Asked, words: AsyncIterator[bytes], context: Any,
        decode: Callable[[bytes], Asked],
    ) -> None:  # fmt: skip
        async def read() -> None:
            async for raw in words:
                connection.heard(decode(raw))

        under_way: set[asyncio.Future[None]] = set()

        async def write() -> Never:
            while True:
                sending = asyncio.ensure_future(context.write(await connection.outbox.get()))
                under_way.add(sending)
                sending.add_done_callback(under_way.discard)
                await asyncio.shield(sending)

        connection.heard(first)
        works = [asyncio.ensure_future(it) for it in (read(), write(), connection.remind())]
        try:
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for it in works:
                it.cancel()
            ended = await asyncio.gather(*works, return_exceptions=True)
            if under_way:  # gRPC cannot say why a stream ends while something is being sent on it
                await asyncio.wait(set(under_way), timeout=CLOSING_S)
        for trouble in ended:
            if isinstance(trouble, grpc.aio.BaseError | grpc.RpcError | asyncio.InvalidStateError):
                _log.debug("a stream ended early", proxy=connection.name, reason=str(trouble))
            elif isinstance(trouble, Exception):
                raise trouble


def server(handlers: Sequence[grpc.GenericRpcHandler]) -> Any:
    """The gRPC server of the control plane, without its ports."""
    made = grpc.aio.server(options=[
        ("grpc.max_receive_message_length", 4 * 1024 * 1024), ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000), ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0), ("grpc.so_reuseport", 0), ("grpc.max_concurrent_streams", 100),
    ])  # fmt: skip
    made.add_generic_rpc_handlers(tuple(handlers))
    return made
