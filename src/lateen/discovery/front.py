"""Who is at the other end? TLS with an optional client certificate, in front of the gRPC server.

A workload without a certificate asks the CA on the same port on which one with a certificate gets its configuration
(Istio's 15012). grpcio offers either to demand client certificates or not to look at them; so this front ends TLS,
passes the bytes to the server's own loopback port, and remembers whose connection each loopback connection is.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import structlog

from lateen.names.identity import Identity, parse

_log = structlog.get_logger("lateen.discovery")

_CHUNK = 64 * 1024
_HANDSHAKE_S = 10.0


class Front:
    """Call ``start`` once; give ``peer`` to whoever must know the caller."""

    def __init__(self, backend_port: int) -> None:
        self._backend_port = backend_port
        self._identities: dict[str, Identity | None] = {}
        self._server: asyncio.Server | None = None

    async def start(self, port: int, tls: ssl.SSLContext, host: str = "0.0.0.0") -> int:
        """Listen; the context may be given new certificates later. Returns the port."""
        self._server = await asyncio.start_server(
            self._connected, host, port, ssl=tls, ssl_handshake_timeout=_HANDSHAKE_S, backlog=512
        )
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def stop(self) -> None:
        """Listen no more."""
        if self._server:
            self._server.close()

    def peer(self, name: str) -> tuple[Identity | None, bool]:
        """(identity, came through this front) of a gRPC peer such as ``ipv4:127.0.0.1:4711``."""
        return self._identities.get(name), name in self._identities

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = ""
        try:
            there, back = await asyncio.wait_for(
                asyncio.open_connection("127.0.0.1", self._backend_port), _HANDSHAKE_S
            )
            key = f"ipv4:127.0.0.1:{back.get_extra_info('sockname')[1]}"
            self._identities[key] = identity_of(writer.get_extra_info("peercert"))
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_pump(reader, back))
                    tasks.create_task(_pump(there, writer))
            finally:
                back.close()
        except* (OSError, TimeoutError, ssl.SSLError) as ended:
            _log.debug("a connection ended", reason=str(ended.exceptions[0]))
        finally:
            self._identities.pop(key, None)
            writer.close()


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
