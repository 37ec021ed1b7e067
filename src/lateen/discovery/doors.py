"""A listening socket with bounds: how many connections, from whom, and how long each may be silent.

Every port of the control plane that anybody can reach has one. Who proved nothing is a stranger. When there is no more
room for strangers, the oldest idle one of the address that has most goes, or the oldest busy one when none is idle:
however many an address opens, and whatever it asks, it takes nothing from those with fewer. Who shows a certificate of
the mesh has a share that no stranger can take.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import contextlib
import ctypes
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any, Never

import structlog

from lateen.discovery.bounds import Bounds, Budget
from lateen.observe import metrics

_log = structlog.get_logger("lateen.discovery")

_SWEEP_S = 0.5
_SHUTDOWN_S = 2.0
#: A peer that vanished without a word is noticed by TCP after so long even when it owes us nothing.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
#: asyncio makes each TLS connection a buffer of 256 KiB, of which one record fills 16.
_TLS_BUFFER = 32 * 1024

#: Connections whose memory is worth giving back when half of them have gone.
_FLOOD = 256

Tls = Callable[[], ssl.SSLContext]


class Guest:
    """One connection, from the moment it is accepted."""

    def __init__(self, address: str, until: float) -> None:
        self.address = address
        self.until: float | None = until  # when it goes, if it is idle then
        self.busy = 0  # what it asked and we still owe
        self.member = False  # it has shown a certificate
        self.transport: asyncio.Transport | None = None
        self.admission: asyncio.Task[None] | None = None

    def drop(self) -> None:
        """At once; whatever it is doing."""
        if self.transport:
            self.transport.abort()
        elif self.admission:
            self.admission.cancel()


class Door:
    """Open once; close once. ``guests`` are in order of their coming."""

    def __init__(self, name: str, bounds: Bounds) -> None:
        self.name, self.bounds = name, bounds
        self.guests: dict[Guest, None] = {}
        self._count: Counter[tuple[str, bool]] = Counter()  # by address and membership
        self._members = 0
        self._budget = Budget(bounds)
        self._socket: socket.socket | None = None
        self._tasks: list[asyncio.Task[Never]] = []

    async def open(
        self, port: int, protocol: Callable[[Guest], asyncio.Protocol], tls: Tls | None, host: str = "0.0.0.0"
    ) -> int:
        """Listen (port 0: any free one); returns the port. Each connection gets the context ``tls`` returns then."""
        asyncio.sslproto.SSLProtocol.max_size = min(_TLS_BUFFER, asyncio.sslproto.SSLProtocol.max_size)
        self._socket = socket.create_server((host, port), backlog=512)
        self._socket.setblocking(False)
        works = (self._accept(self._socket, protocol, tls), self._sweep())
        self._tasks = [asyncio.create_task(it) for it in works]
        found: int = self._socket.getsockname()[1]
        return found

    async def close(self) -> None:
        """Listen no more, and end what is connected."""
        for it in self._tasks:
            it.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket:
            self._socket.close()
        admissions = [it.admission for it in self.guests if it.admission]
        for guest in list(self.guests):
            guest.drop()
        await asyncio.gather(*admissions, return_exceptions=True)

    def prove(self, guest: Guest) -> bool:
        """It has shown a certificate; False when there is no room even so."""
        each = self._count[guest.address, True]
        if self._members >= self.bounds.members or each >= self.bounds.members_each:
            self._turned_away(guest.address)
            return False
        if guest in self.guests and not guest.member:
            self._forget(guest)
            guest.member, guest.until = True, None
            self._remember(guest)
        return True

    async def _accept(
        self, listening: socket.socket, protocol: Callable[[Guest], asyncio.Protocol], tls: Tls | None
    ) -> Never:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, peer = await loop.sock_accept(listening)
            except OSError as wrong:  # no file descriptor is left, or the peer is gone again
                _log.warning("a connection could not be accepted", port=self.name, reason=str(wrong))
                await asyncio.sleep(0.05)
                continue
            address = str(peer[0])
            if not self._budget.spend(address, loop.time()) or not self._made_room(address):
                self._turned_away(address)
                accepted.close()
                continue
            guest = Guest(address, loop.time() + self.bounds.first_s)
            self._remember(guest)
            guest.admission = loop.create_task(self._admit(guest, accepted, protocol, tls))

    async def _admit(
        self,
        guest: Guest,
        accepted: socket.socket,
        protocol: Callable[[Guest], asyncio.Protocol],
        tls: Tls | None,
    ) -> None:
        handshake: dict[str, Any] = {}
        if tls:
            handshake = {
                "ssl": tls(), "ssl_handshake_timeout": self.bounds.first_s, "ssl_shutdown_timeout": _SHUTDOWN_S,
            }  # fmt: skip
        try:
            _keep_alive(accepted)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Known(self, guest, protocol(guest)), accepted, **handshake
            )
        except (OSError, TimeoutError, ssl.SSLError) as wrong:
            _log.debug("a connection ended early", port=self.name, address=guest.address, reason=str(wrong))
        finally:
            guest.admission = None
            if guest.transport is None:
                self.gone(guest)
                accepted.close()

    def gone(self, guest: Guest) -> None:
        """Its connection has ended."""
        if guest in self.guests:
            self._forget(guest)

    def _made_room(self, address: str) -> bool:
        if self._count[address, False] >= self.bounds.each:
            return self._drop_idle_of(address)
        if len(self.guests) - self._members < self.bounds.strangers:
            return True
        most = max((it for it in self._count if not it[1]), key=lambda it: self._count[it])[0]
        more = (
            self._count[most, False] > self._count[address, False] + 1
        )  # else both would take from each other
        return self._drop_idle_of(most) or (more and self._drop_of(most, lambda _: True))

    def _drop_idle_of(self, address: str) -> bool:
        return self._drop_of(address, lambda it: not it.busy)

    def _drop_of(self, address: str, chosen: Callable[[Guest], bool]) -> bool:
        for it in self.guests:
            if it.address == address and not it.member and chosen(it):
                self._turned_away(address)
                self._forget(it)
                it.drop()
                return True
        return False

    def _turned_away(self, address: str) -> None:
        metrics.TURNED_AWAY.labels("CONNECTIONS").inc()
        _log.debug("a connection was turned away", port=self.name, address=address)

    def _remember(self, guest: Guest) -> None:
        self.guests[guest] = None
        self._count[guest.address, guest.member] += 1
        self._members += guest.member

    def _forget(self, guest: Guest) -> None:
        del self.guests[guest]
        key = (guest.address, guest.member)
        self._count[key] -= 1
        if not self._count[key]:
            del self._count[key]
        self._members -= guest.member

    async def _sweep(self) -> Never:
        most = 0
        while True:
            await asyncio.sleep(_SWEEP_S)
            now, most = asyncio.get_running_loop().time(), max(most, len(self.guests))
            if most >= _FLOOD and len(self.guests) <= most / 2:
                most = len(self.guests)
                _give_back()
            for it in list(self.guests):
                if it.until is not None and it.until < now and not it.busy:
                    it.drop()
            self._budget.forget(now)


class _Known(asyncio.Protocol):
    """Tells the door when a connection begins and ends; everything else is for whoever speaks its protocol."""

    def __init__(self, door: Door, guest: Guest, inner: asyncio.Protocol) -> None:
        self._door, self._guest, self._inner = door, guest, inner
        self.data_received = inner.data_received  # type: ignore[method-assign]  # nothing between, for each read
        self.pause_writing = inner.pause_writing  # type: ignore[method-assign]
        self.resume_writing = inner.resume_writing  # type: ignore[method-assign]
        self.eof_received = inner.eof_received  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._guest.transport = transport
        if self._guest not in self._door.guests:  # it was dropped meanwhile
            transport.abort()
        if self._guest.until is not None:
            self._guest.until = asyncio.get_running_loop().time() + self._door.bounds.first_s
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.gone(self._guest)
        self._inner.connection_lost(exc)


def _give_back() -> None:
    """The C library keeps what was freed: after a flood that is most of the process. Not every library can be asked."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _keep_alive(it: socket.socket) -> None:
    it.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        it.setsockopt(socket.IPPROTO_TCP, option, value)
    with contextlib.suppress(OSError):
        it.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
