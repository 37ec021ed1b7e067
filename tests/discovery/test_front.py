"""TLS in front of a server: who is at the other end, and what those do who do not behave."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.authority import serving
from lateen.authority.store import Authority
from lateen.discovery.front import Front
from lateen.names.identity import Identity
from lateen.pki.certificates import Issuer, key_pem, leaf, pem, self_signed
from lateen.testing.ads import until

HOST = "istiod.istio-system.svc"


def authority() -> Authority:
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
    ca: Authority, *, most: int = 100, handshake_s: float = 5.0
) -> AsyncIterator[tuple[Front, Backend, int, ssl.SSLContext]]:
    backend = Backend()
    server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    it = Front(server.sockets[0].getsockname()[1], most=most)
    tls = serving.server_context(ca, [HOST], clients=True)
    port = await it.start(0, tls, "127.0.0.1", handshake_s=handshake_s)
    try:
        yield it, backend, port, tls
    finally:
        await it.stop()
        server.close()


async def dial(port: int, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=HOST)


async def echoed(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], data: bytes = b"hello"
) -> bytes:
    reader, writer = connection
    writer.write(data)
    return await asyncio.wait_for(reader.readexactly(len(data)), 20)


async def test_a_peer_is_whom_its_certificate_names(tmp_path: Path) -> None:
    ca = authority()
    async with front(ca) as (it, backend, port, _):
        with_one, without = await dial(port, client(ca, tmp_path)), await dial(port, client(ca))
        assert await echoed(with_one) == await echoed(without) == b"hello"
        named, nobody = (it.peer(name) for name in backend.peers)
        assert {named, nobody} == {(Identity("td", "shop", "web"), True), (None, True)}
        assert it.peer("ipv4:127.0.0.1:1") == (None, False)
        for _, writer in (with_one, without):
            writer.close()
        await until(lambda: backend.open == 0)
        assert [it.peer(name) for name in backend.peers] == [(None, False)] * 2, (
            "a port that is used again is nobody's"
        )


async def test_a_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    ca = authority()
    async with front(ca) as (_, backend, port, _):
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await echoed(await dial(port, client(ca, tmp_path, authority().issuer)))
        assert not backend.peers


async def test_a_great_deal_of_data_passes_both_ways_unchanged() -> None:
    ca = authority()
    async with front(ca) as (_, _, port, _):
        reader, writer = await dial(port, client(ca))
        data = bytes(range(256)) * 40_000

        async def send() -> None:
            writer.write(data)
            await writer.drain()

        sending = asyncio.ensure_future(send())
        assert await asyncio.wait_for(reader.readexactly(len(data)), 60) == data
        await sending


async def test_who_does_not_shake_hands_is_let_go_and_delays_nobody() -> None:
    ca = authority()
    async with front(ca, handshake_s=0.3) as (_, backend, port, _):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        assert await echoed(await dial(port, client(ca))) == b"hello"
        for reader, _ in silent:
            assert await asyncio.wait_for(reader.read(), 20) == b""
        assert len(backend.peers) == 1


async def test_a_backend_that_closes_closes_the_peer() -> None:
    ca = authority()
    async with front(ca) as (it, _, port, _):
        reader, writer = await dial(port, client(ca))
        await echoed((reader, writer))
        await it.stop()
        assert await asyncio.wait_for(reader.read(), 20) == b""


async def test_connections_have_a_limit_which_recovers() -> None:
    ca = authority()
    async with front(ca, most=3) as (_, backend, port, _):
        held = [await dial(port, client(ca)) for _ in range(3)]
        for it in held:
            await echoed(it)
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await echoed(await dial(port, client(ca)))
        held[0][1].close()
        await until(lambda: backend.open == 2)
        assert await echoed(await dial(port, client(ca))) == b"hello"


async def test_a_renewed_certificate_is_shown_to_new_peers_and_old_ones_go_on() -> None:
    ca = authority()
    async with front(ca) as (_, _, port, tls):
        old = await dial(port, client(ca))
        before = old[1].get_extra_info("ssl_object").getpeercert()["serialNumber"]
        serving.fill(tls, ca, [HOST])
        new = await dial(port, client(ca))
        assert new[1].get_extra_info("ssl_object").getpeercert()["serialNumber"] != before
        assert await echoed(old) == await echoed(new) == b"hello"


async def test_many_peers_at_once() -> None:
    ca = authority()
    context = client(ca)
    async with front(ca, most=500) as (_, backend, port, _):
        found = await asyncio.gather(*(dial(port, context) for _ in range(200)))
        assert set(await asyncio.gather(*(echoed(it) for it in found))) == {b"hello"}
        assert backend.open == 200
        for _, writer in found:
            writer.close()
        await until(lambda: backend.open == 0)
