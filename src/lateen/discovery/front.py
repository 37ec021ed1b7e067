"""Who is at the other end? TLS with an optional client certificate, in front of the gRPC server.

A workload without a certificate asks the CA on the same port on which one with a certificate gets its configuration
(Istio's 15012). grpcio offers either to demand client certificates or not to look at them; so this front ends TLS,
passes the bytes to the server's own loopback port, and remembers whose connection each loopback connection is.
The port in the clear (15010) has the same front, without TLS: the bounds on connections are its own.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import structlog

from lateen.discovery.bounds import PLAIN, SECURE, Bounds
from lateen.discovery.doors import Door, Guest, Tls
from lateen.names.identity import Identity, parse

_log = structlog.get_logger("lateen.discovery")

_BACKEND_S = 10.0
#: What waits to be written to a peer that reads slowly, before its source is not read either.
_MOST_UNREAD = 64 * 1024
_LINGER_S = 5.0


class _Peer(NamedTuple):
    identity: Identity | None
    encrypted: bool
    door: Door
    guest: Guest


class Front:
    """Call ``start`` for each port; give ``peer`` to whoever must know the caller."""

    def __init__(self, backend_port: int) -> None:
        self._backend_port = backend_port
        self._peers: dict[str, _Peer] = {}
        self._doors: list[Door] = []

    async def start(
        self, port: int, tls: Tls | None, host: str = "0.0.0.0", *, bounds: Bounds | None = None
    ) -> int:
        """Listen, by TLS with the context ``tls`` returns for each connection, or in the clear. Returns the port."""
        door = Door("tls-xds" if tls else "grpc-xds", bounds or (SECURE if tls else PLAIN))
        self._doors.append(door)
        return await door.open(port, lambda guest: _Outer(self, door, guest, encrypted=bool(tls)), tls, host)

    async def stop(self) -> None:
        """Listen no more, and end what is connected."""
        await asyncio.gather(*(it.close() for it in self._doors))

    def peer(self, name: str) -> tuple[Identity | None, bool]:
        """(identity, came by TLS through this front) of a gRPC peer such as ``ipv4:127.0.0.1:4711``: it asks something."""
        found = self._peers.get(name)
        if found is None:
            return None, False
        if not found.guest.member:
            silent_s = found.door.bounds.silent_s
            now = asyncio.get_running_loop().time()
            found.guest.until = None if silent_s is None else now + silent_s
        return found.identity, found.encrypted

    def address(self, name: str) -> str:
        """Where such a peer really is."""
        found = self._peers.get(name)
        return found.guest.address if found else name

    async def connect(self, outer: _Outer) -> _Inner:
        """A connection to the server, known before the first byte passes."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_BACKEND_S):
            transport, inner = await loop.create_connection(
                lambda: _Inner(outer), "127.0.0.1", self._backend_port
            )
        inner.name = f"ipv4:127.0.0.1:{transport.get_extra_info('sockname')[1]}"
        self._peers[inner.name] = _Peer(outer.identity, outer.encrypted, outer.door, outer.guest)
        return inner

    def forget(self, name: str) -> None:
        """Such a peer is gone: its port may be another's next."""
        self._peers.pop(name, None)


class _Side(asyncio.Protocol):
    """One side of a connection that is passed on: what it cannot write, the other does not read."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=_MOST_UNREAD)

    def data_received(self, data: bytes) -> None:
        if self.other and self.other.transport:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.resume_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.other and self.other.transport:
            self.other.transport.close()  # what was written to it may still arrive, if it reads
            asyncio.get_running_loop().call_later(_LINGER_S, self.other.transport.abort)
        self.transport = None


class _Outer(_Side):
    """Towards the peer. The server hears of it with its first bytes: who says nothing costs little."""

    def __init__(self, front: Front, door: Door, guest: Guest, *, encrypted: bool) -> None:
        super().__init__()
        self.front, self.door, self.guest, self.encrypted = front, door, guest, encrypted
        self.identity: Identity | None = None
        self._first = bytearray()
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        certificate = transport.get_extra_info("peercert")
        self.identity = identity_of(certificate)
        if certificate and not self.door.prove(self.guest):
            self.guest.drop()

    def data_received(self, data: bytes) -> None:
        if self.other:
            super().data_received(data)
            return
        self._first += data
        if self._connecting is None and self.transport:
            self.transport.pause_reading()
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            inner = await self.front.connect(self)
        except (OSError, TimeoutError) as wrong:
            _log.warning("the server does not take a connection", reason=str(wrong) or type(wrong).__name__)
            self.guest.drop()
            return
        if self.transport is None or inner.transport is None:  # one of them has gone meanwhile
            for it in (self.transport, inner.transport):
                if it:
                    it.close()
            return
        self.other, first, self._first = inner, bytes(self._first), bytearray()
        inner.transport.write(first)
        self.transport.resume_reading()


class _Inner(_Side):
    """Towards the server."""

    def __init__(self, outer: _Outer) -> None:
        super().__init__()
        self.other: _Outer = outer
        self.name = ""

    def connection_lost(self, _exc: Exception | None) -> None:
        self.other.front.forget(self.name)
        super().connection_lost(_exc)


def identity_of(certificate: dict[str, Any] | None) -> Identity | None:
    """The SPIFFE identity in a verified certificate as ``ssl`` shows it."""
    for kind, value in (certificate or {}).get("subjectAltName", ()):
        if kind == "URI" and (found := parse(value)):
            return found
    return None
