"""TLS in front of a server: who is at the other end, and what those do who do not behave."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from lateen.authority import serving
from lateen.discovery.bounds import SECURE
from lateen.names.identity import Identity
from lateen.testing.ads import until
from lateen.testing.fronts import HOST, authority, client, dial, echoed, front


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
    async with front(ca, bounds=SECURE._replace(first_s=0.5)) as (_, backend, port, _):
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
    async with front(ca, bounds=SECURE._replace(each=500)) as (_, backend, port, _):
        found = await asyncio.gather(*(dial(port, context) for _ in range(200)))
        assert set(await asyncio.gather(*(echoed(it) for it in found))) == {b"hello"}
        assert backend.open == 200
        for _, writer in found:
            writer.close()
        await until(lambda: backend.open == 0)
