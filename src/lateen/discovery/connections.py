"""Who is connected? One connection is one proxy's stream: its machine, what is waiting to be sent, and how it stands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Never, TypeVar

import structlog

from lateen.envoy import codec
from lateen.envoy.codec import Asked
from lateen.envoy.resource import CLUSTER, ENDPOINT, EXTENSION_CONFIG, LISTENER, ROUTE, SECRET, TypeUrl, View
from lateen.observe import metrics
from lateen.registry.facts import Proxy
from lateen.xds import sotw, stream
from lateen.xds.limits import MOST_BYTES_OF_CONNECTION, GreedyError
from lateen.xds.side import Side
from lateen.xds.standing import Standing

_log = structlog.get_logger("lateen.discovery")

#: How ``/debug/syncz`` calls the types, and how Istio's metrics do.
TYPES: dict[TypeUrl, tuple[str, str]] = {
    CLUSTER: ("cluster", "cds"), LISTENER: ("listener", "lds"), ENDPOINT: ("endpoint", "eds"), ROUTE: ("route", "rds"),
    EXTENSION_CONFIG: ("extensionconfig", "ecds"), SECRET: ("secret", "sds"),
}  # fmt: skip


Told = Iterator[tuple[TypeUrl, bytes]]
ResponseT = TypeVar("ResponseT")


@dataclass(frozen=True)
class Machine(Generic[ResponseT]):
    """One side of a stream with bytes at its edge. ``now`` is of ``time.monotonic``."""

    side: Side[Any, ResponseT]
    hears: Callable[[Asked, float], Iterator[ResponseT]]
    written: Callable[[ResponseT], bytes]
    kind: Callable[[ResponseT], TypeUrl]

    def receive(self, asked: Asked, now: float) -> Told:
        """The proxy spoke."""
        return self._bytes(self.hears(asked, now))

    def offer(self, view: View, now: float) -> Told:
        """The mesh changed."""
        return self._bytes(self.side.offer(view, now))

    def wake(self, now: float) -> Told:
        """It is later."""
        return self._bytes(self.side.wake(now))

    def _bytes(self, said: Iterator[ResponseT]) -> Told:
        return ((self.kind(it), self.written(it)) for it in said)


def delta(linger_s: float) -> Machine[stream.Response]:
    """The incremental protocol."""
    side = stream.DeltaStream(linger_s)

    def hears(it: Asked, now: float) -> Iterator[stream.Response]:
        said = (it.type_url, it.subscribe, it.unsubscribe, it.initial_versions, it.nonce, it.error)
        return side.receive(stream.Request(*said), now)

    def written(it: stream.Response) -> bytes:
        return codec.delta_response(it.type_url, it.nonce, it.resources, it.removed)

    return Machine(side, hears, written, lambda it: it.type_url)


def state(linger_s: float) -> Machine[sotw.Response]:
    """The state-of-the-world protocol."""
    side = sotw.StateStream(linger_s)

    def hears(it: Asked, now: float) -> Iterator[sotw.Response]:
        return side.receive(sotw.Request(it.type_url, it.names, it.nonce, it.error), now)

    def written(it: sotw.Response) -> bytes:
        return codec.state_response(it.type_url, it.version, it.nonce, it.resources)

    return Machine(side, hears, written, lambda it: it.type_url)


#: Envoy opens one stream on a connection, and so do clients of gRPC.
MOST_STREAMS = 16
#: ``/debug/syncz`` names so many refused resources of a type.
MOST_SHOWN = 20


class Budget:
    """What all streams of one connection may make us remember together."""

    def __init__(self) -> None:
        self.streams: dict[Connection, int] = {}  # and what the names of each weigh

    def charge(self, stream: Connection, weight: int) -> None:
        """A stream weighs so much now; GreedyError when it is too much with the others."""
        self.streams[stream] = weight
        if len(self.streams) > MOST_STREAMS:
            raise GreedyError(f"a connection has at most {MOST_STREAMS} streams: open one for each proxy")
        if (total := sum(self.streams.values())) > MOST_BYTES_OF_CONNECTION:
            raise GreedyError(
                f"the names that the streams of this connection subscribe to take {total} bytes, at most "
                f"{MOST_BYTES_OF_CONNECTION} are kept: open one stream for each proxy"
            )


#: The machines have one answer per type under way, so that the outbox of an honest proxy is short by itself. One that
#: acknowledges what it has not read, by guessing nonces, must not fill our memory.
MOST_UNREAD = 64


class Connection:
    """One stream of one proxy."""

    def __init__(self, machine: Machine[Any], proxy: Proxy, budget: Budget) -> None:
        self.machine = machine
        self.proxy = proxy
        self._budget = budget
        self._holds = asyncio.Event()
        self.outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.since = time.time()
        self._moments: dict[TypeUrl, float] = {}

    def offer(self, found: View) -> None:
        """The mesh changed."""
        self._send(self.machine.offer(found, time.monotonic()))

    def heard(self, asked: Asked) -> None:
        """The proxy spoke."""
        if asked.error:
            metrics.REJECTS.labels(_metric(asked.type_url)).inc()
            _log.warning(
                "a proxy refused what it was sent",
                proxy=self.name,
                type=asked.type_url,
                reason=asked.error[:2000],
            )
        if asked.nonce:
            self._moments[asked.type_url] = time.time()
        self._send(self.machine.receive(asked, time.monotonic()))
        self._budget.charge(self, self.machine.side.weight)

    async def remind(self) -> Never:
        """Tell what was held back long enough, until cancelled."""
        while True:
            await self._holds.wait()
            while (due := self.machine.side.due) is not None:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self._send(self.machine.wake(time.monotonic()))
            self._holds.clear()

    def _send(self, answers: Iterator[tuple[TypeUrl, bytes]]) -> None:
        for type_url, raw in answers:
            if self.outbox.qsize() >= MOST_UNREAD:
                raise GreedyError("a proxy acknowledges what it was sent without reading it")
            metrics.PUSHES.labels(_metric(type_url)).inc()
            metrics.SIZE.labels(_metric(type_url)).observe(len(raw))
            self._moments[type_url] = time.time()
            self.outbox.put_nowait(raw)
        if self.machine.side.due is not None:
            self._holds.set()

    @property
    def name(self) -> str:
        """``pod.namespace``."""
        return f"{self.proxy.pod}.{self.proxy.namespace}"

    def standing(self, now: float) -> dict[str, Any]:
        """The entry of ``/debug/syncz``."""
        it = self.proxy
        found: dict[str, Any] = {
            "proxy": self.name, "cluster_id": it.cluster, "proxy_version": it.version, "istio_version": it.version,
            "proxy_type": it.kind, "envoy_version": it.metadata.get("ENVOY_VERSION", ""),
        }  # fmt: skip
        if generator := it.metadata.get("GENERATOR"):
            found["generator"] = generator
        standings = self.machine.side.standings()
        for type_url, (named, _) in TYPES.items():
            if (stands := standings.get(type_url)) is None:
                continue
            found[f"{named}_sent"], found[f"{named}_acked"] = stands.sent, stands.acked
            found[f"{named}_status"] = _word(stands)
            found[f"{named}_age_s"] = round(now - self._moments.get(type_url, self.since), 1)
            if stands.error:
                found[f"{named}_error"] = stands.error
                found[f"{named}_refused"] = [
                    {"name": name, "version": version, "reason": words}
                    for name, (version, words) in sorted(stands.refused.items())[:MOST_SHOWN]
                ]
        return found


def _word(it: Standing) -> str:
    if it.error:
        return "ERROR"
    if not it.sent:
        return "NOT SENT"
    if it.synced:
        return "SYNCED"
    return "STALE" if it.acked else "STALE (Never Acknowledged)"


def _metric(type_url: TypeUrl) -> str:
    return TYPES.get(type_url, ("", "other"))[1]
