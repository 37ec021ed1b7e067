"""Floods on the ports of the control plane: who behaves is served, and what the others hold is little and passes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from lateen.discovery.bounds import PAGES, SECURE, Budget
from lateen.discovery.pages import serve
from lateen.testing.ads import until
from lateen.testing.fronts import authority, client, dial, echoed, front

FLOODERS = [f"127.0.0.{it}" for it in range(66, 72)]


@pytest.mark.finding("security 4")
async def test_idle_connections_close_the_port_to_nobody(tmp_path: Path) -> None:
    ca = authority()
    silent = client(ca)
    bounds = SECURE._replace(strangers=120, each=50)
    async with front(ca, bounds=bounds) as (it, backend, port, _):
        honest = await dial(port, client(ca, tmp_path), "127.0.0.2")
        assert await echoed(honest) == b"hello"

        async def flood(source: str) -> list[asyncio.StreamWriter]:
            held = []
            for _ in range(100):
                with contextlib.suppress(OSError, ssl.SSLError):
                    held.append((await dial(port, silent, source))[1])
            return held

        floods = [asyncio.ensure_future(flood(one)) for one in FLOODERS]
        for number in range(10):  # while they come, and at other addresses than theirs
            assert await echoed(await dial(port, client(ca), f"127.0.0.{3 + number}")) == b"hello"
            assert await echoed(await dial(port, client(ca, tmp_path), f"127.0.0.{3 + number}")) == b"hello"
        await asyncio.gather(*floods)
        [door] = it._doors
        assert sum(not guest.member for guest in door.guests) <= 120
        assert max(door._count[one, False] for one in FLOODERS) <= 50
        assert len(backend.peers) == 21, "who says nothing costs the server nothing"
        assert await echoed(await dial(port, client(ca), "127.0.0.2")) == b"hello"
        assert await echoed(honest) == b"hello", "who has a certificate stays"


@pytest.mark.finding("security 4")
async def test_half_a_handshake_is_as_bounded_as_a_whole_one(tmp_path: Path) -> None:
    ca = authority()
    async with front(ca, bounds=SECURE._replace(strangers=60, each=30)) as (it, _, port, _):
        for source in FLOODERS:
            for _ in range(40):
                _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
                writer.write(b"\x16\x03\x01\x02\x00")  # the head of a record that does not come
        await until(lambda: len(it._doors[0].guests) <= 60)
        assert await echoed(await dial(port, client(ca), "127.0.0.2")) == b"hello"
        assert await echoed(await dial(port, client(ca, tmp_path), "127.0.0.2")) == b"hello"


@pytest.mark.finding("security 4")
async def test_who_shows_nothing_and_asks_nothing_goes_and_a_proxy_stays(tmp_path: Path) -> None:
    ca = authority()
    async with front(ca, bounds=SECURE._replace(first_s=0.3, silent_s=0.5)) as (it, backend, port, _):
        proxy = await dial(port, client(ca, tmp_path))
        await echoed(proxy)
        quiet, talks = await dial(port, client(ca)), await dial(port, client(ca))
        await echoed(talks)
        assert it.peer(backend.peers[-1]) == (None, True)  # it asks for a certificate
        assert await asyncio.wait_for(quiet[0].read(), 20) == b""
        assert await asyncio.wait_for(talks[0].read(), 20) == b""
        assert await echoed(proxy) == b"hello"


@pytest.mark.finding("security 4")
async def test_those_with_a_certificate_are_bounded_by_address_too(tmp_path: Path) -> None:
    ca = authority()
    async with front(ca, bounds=SECURE._replace(members=8, members_each=3)) as (_, _, port, _):
        context = client(ca, tmp_path)
        held = [await dial(port, context, "127.0.0.66") for _ in range(3)]
        for one in held:
            await echoed(one)
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await echoed(await dial(port, context, "127.0.0.66"))
        assert await echoed(await dial(port, context, "127.0.0.2")) == b"hello"
        held[0][1].close()
        await asyncio.sleep(0.2)
        assert await echoed(await dial(port, context, "127.0.0.66")) == b"hello"


@pytest.mark.finding("security 4")
async def test_an_idle_connection_takes_little_memory() -> None:
    ca = authority()
    async with front(ca, bounds=SECURE._replace(each=500)) as (_, _, port, _):
        context, before = client(ca), _resident()
        held = [await dial(port, context) for _ in range(300)]
        each = (_resident() - before) / len(held)  # of both ends, which are in this process
        assert each < 200_000
        for _, writer in held:
            writer.close()
        held.clear()
        # Most of it returns to the machine when they have gone.
        await until(lambda: _resident() - before < each * 300 / 2 + 4_000_000)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.finding("security 21")
async def test_a_peer_has_its_true_address() -> None:
    ca = authority()
    async with front(ca) as (it, backend, port, _):
        await echoed(await dial(port, client(ca), "127.0.0.66"))
        assert it.address(backend.peers[0]) == "127.0.0.66"
        assert it.address("ipv4:1.2.3.4:5") == "ipv4:1.2.3.4:5"


@pytest.mark.finding("security 4")
async def test_a_peer_that_does_not_read_does_not_stay() -> None:
    ca = authority()
    async with front(ca, bounds=SECURE._replace(first_s=0.5)) as (it, backend, port, _):
        _reader, writer = await dial(port, client(ca))
        writer.transport.pause_reading()
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(2):
                while True:
                    writer.write(b"x" * 65536)
                    await writer.drain()
        await until(lambda: not it._doors[0].guests and not backend.open)


@pytest.mark.finding("security 4")
def test_the_pace_of_an_address_is_its_own() -> None:
    budget = Budget(SECURE._replace(pace=2.0, burst=3))
    assert [budget.spend("a", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert budget.spend("b", 0.0)
    assert [budget.spend("a", 1.0) for _ in range(3)] == [True, True, False]
    budget.forget(100.0)
    assert not budget._left


async def _page(_: web.Request) -> web.Response:
    return web.Response(text="page")


@pytest.mark.finding("security 4")
async def test_pages_are_served_beside_half_requests() -> None:
    app = web.Application()
    app.router.add_get("/", _page)
    bounds = PAGES._replace(strangers=40, each=15, first_s=0.5)
    served = await serve(app, 0, "127.0.0.1", bounds=bounds)
    try:
        held = []
        for source in FLOODERS:
            for _ in range(30):
                _, writer = await asyncio.open_connection("127.0.0.1", served.port, local_addr=(source, 0))
                writer.write(b"GET / HT")
                held.append(writer)
        for number in range(5):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", served.port, local_addr=(f"127.0.0.{2 + number}", 0)
            )
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in await asyncio.wait_for(reader.readline(), 20)
        assert len(served.door.guests) <= 40
        await until(lambda: len(served.door.guests) == 5)  # kept open for another request
    finally:
        await served.close()
