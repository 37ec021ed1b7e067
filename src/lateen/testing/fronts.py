"""A front before a server that echoes, and callers with and without a certificate."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.authority import serving
from lateen.authority.store import Authority
from lateen.discovery.bounds import SECURE, Bounds
from lateen.discovery.front import Front
from lateen.pki.certificates import Issuer, key_pem, leaf, pem, self_signed

HOST = "istiod.istio-system.svc"


def authority() -> Authority:
    """A CA of its own."""
    root = self_signed(
        ec.generate_private_key(ec.SECP256R1()), "td", serial=1, now=datetime.now(UTC), ttl=timedelta(days=9)
    )
    return Authority(root, pem(root.certificate), "test")


def client(ca: Authority, folder: Path | None = None, issuer: Issuer | None = None) -> ssl.SSLContext:
    """With ``folder``, one that shows a certificate."""
    context = ssl.create_default_context(cadata=ca.root_pem.decode())
    if folder:
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier("spiffe://td/ns/shop/sa/web")]
        made = leaf(
            issuer or ca.issuer,
            key.public_key(),
            names,
            serial=7,
            now=datetime.now(UTC),
            ttl=timedelta(hours=1),
        )
        (folder / "pair.pem").write_bytes(pem(made) + key_pem(key))
        context.load_cert_chain(folder / "pair.pem")
    return context


class Backend:
    """Echoes, and notes the peers that it sees."""

    def __init__(self) -> None:
        self.peers: list[str] = []
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.open += 1
        host, port = writer.get_extra_info("peername")
        self.peers.append(f"ipv4:{host}:{port}")
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def front(
    ca: Authority, *, bounds: Bounds = SECURE
) -> AsyncIterator[tuple[Front, Backend, int, ssl.SSLContext]]:
    """A front, what is behind it, its port, and the context that it shows."""
    backend = Backend()
    server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    it = Front(server.sockets[0].getsockname()[1])
    tls = serving.server_context(ca, [HOST], clients=True)
    port = await it.start(0, lambda: tls, "127.0.0.1", bounds=bounds)
    try:
        yield it, backend, port, tls
    finally:
        await it.stop()
        server.close()


async def dial(
    port: int, context: ssl.SSLContext, source: str = "127.0.0.1"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect by TLS, from an address of choice."""
    return await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=HOST, local_addr=(source, 0)
    )


async def echoed(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], data: bytes = b"hello"
) -> bytes:
    """What comes back."""
    reader, writer = connection
    writer.write(data)
    return await asyncio.wait_for(reader.readexactly(len(data)), 20)
