"""Who is at the other end? TLS with an optional client certificate, in front of the gRPC server.

A workload without a certificate asks the CA on the same port on which one with a certificate gets its configuration
(Istio's 15012). grpcio offers either to demand client certificates or not to look at them; so this front ends TLS,
passes the bytes to the server's own loopback port, and remembers whose connection each loopback connection is.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import structlog

from lateen.names.identity import Identity, parse
from lateen.observe import metrics

_log = structlog.get_logger("lateen.discovery")

_CHUNK = 64 * 1024
HANDSHAKE_S = 10.0
#: Connections at once: each costs three file descriptors and some tens of kilobytes. Handshakes are bounded by time.
MOST_CONNECTIONS = 4096
#: A peer that vanished without a word is noticed by TCP after so long even when gRPC sends no pings yet.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))


class Front:
    """Call ``start`` once; give ``peer`` to whoever must know the caller."""

    def __init__(self, backend_port: int, *, most: int = MOST_CONNECTIONS) -> None:
        self._backend_port, self._most = backend_port, most
        self._identities: dict[str, Identity | None] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(
        self, port: int, tls: ssl.SSLContext, host: str = "0.0.0.0", *, handshake_s: float = HANDSHAKE_S
    ) -> int:
        """Listen; the context may be given new certificates later. Returns the port."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(reader, writer)

        self._server = await asyncio.start_server(
            connected,
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=handshake_s,
            ssl_shutdown_timeout=2.0,
            backlog=512,
        )
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def stop(self) -> None:
        """Listen no more, and end what is connected."""
        if self._server:
            self._server.close()
        for it in list(self._connections):
            it.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def peer(self, name: str) -> tuple[Identity | None, bool]:
        """(identity, came through this front) of a gRPC peer such as ``ipv4:127.0.0.1:4711``."""
        return self._identities.get(name), name in self._identities

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self._most:
            metrics.TURNED_AWAY.labels("CONNECTIONS").inc()
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._pass_on(reader, writer)
        except* (OSError, TimeoutError, ssl.SSLError) as ended:
            _log.debug("a connection ended", reason=str(ended.exceptions[0]))
        finally:
            self._connections.discard(task)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _keep_alive(writer.get_extra_info("socket"))
        there, back = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", self._backend_port), HANDSHAKE_S
        )
        key = f"ipv4:127.0.0.1:{back.get_extra_info('sockname')[1]}"
        self._identities[key] = identity_of(writer.get_extra_info("peercert"))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(reader, back))
                tasks.create_task(_pump(there, writer))
        finally:
            del self._identities[key]
            back.close()


def _keep_alive(it: Any) -> None:
    it.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        it.setsockopt(socket.IPPROTO_TCP, option, value)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(_CHUNK):
        target.write(data)
        await target.drain()
    raise ConnectionResetError("one side closed")  # ends the other direction too


def identity_of(certificate: dict[str, Any] | None) -> Identity | None:
    """The SPIFFE identity in a verified certificate as ``ssl`` shows it."""
    for kind, value in (certificate or {}).get("subjectAltName", ()):
        if kind == "URI" and (found := parse(value)):
            return found
    return None
