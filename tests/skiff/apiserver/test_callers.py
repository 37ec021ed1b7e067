"""What one caller may hold: requests under way, connections that say nothing, answers that nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from served import Served

from skiff.apiserver import bodies, callers, connections
from skiff.apiserver.callers import Callers, Sort
from skiff.errors import ApiError
from skiff.kinds import CONFIG_MAPS

pytestmark = pytest.mark.finding("issue 7 part 3")
WATCH = "/api/v1/namespaces/default/configmaps?watch=1"


@pytest.fixture
async def it(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with Served(tmp_path_factory.getbasetemp()) as made:
        yield made


async def test_watches_of_one_account_are_bounded_and_those_of_others_are_not_hurt(
    it: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sort.WATCH, "most", 3)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            answer = await stack.enter_async_context(
                it.client.get(WATCH, headers={"Authorization": f"Bearer {it.root}"})
            )
            assert answer.status == 200
        async with it.client.get(WATCH, headers={"Authorization": f"Bearer {it.root}"}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
            assert (await answer.json())["reason"] == "TooManyRequests"
        assert (await it.ask("GET", "/api/v1/namespaces/default/configmaps"))[0] == 200
        other = await it.account("other")
        assert (await it.ask("GET", WATCH, token=other))[0] == 403  # it has no rights, but a turn
    for _ in range(100):  # the server hears that they left
        code, _ = await it.ask("GET", f"{WATCH}&timeoutSeconds=1")
        if code == 200:
            return
        await asyncio.sleep(0.05)
    pytest.fail("a watch that has ended still counts")


def test_the_owner_gets_in_when_all_turns_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_MOST_IN_ALL", {Sort.SHORT: 2})
    them = Callers()
    with them.counted(Sort.SHORT, "a", ()), them.counted(Sort.SHORT, "b", ()):
        with pytest.raises(ApiError) as refused, them.counted(Sort.SHORT, "c", ()):
            pass
        assert refused.value.code == 429
        with them.counted(Sort.SHORT, "owner", ("system:masters",)):
            pass
    with them.counted(Sort.SHORT, "c", ()):
        pass


@contextlib.asynccontextmanager
async def kept(it: Served, **bounds: Any) -> AsyncIterator[web.AppRunner]:
    """The port of a server whose connections are looked at, as if its clients were on other machines."""
    runner = web.AppRunner(it.app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.server is not None
    looks = asyncio.create_task(connections.keep(runner.server, connections.Bounds(every_s=0.02, **bounds)))
    yield runner
    looks.cancel()
    await asyncio.gather(looks, return_exceptions=True)
    await runner.cleanup()


async def ended(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
    return b""


async def healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(20):
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\nok")


async def test_who_never_finishes_a_first_request_is_shown_out(it: Served) -> None:
    async with kept(it, first_s=0.1) as runner:
        for said in (b"", b"GET /version HTTP/1.1\r\nHost: a\r\nx: "):
            reader, writer = await asyncio.open_connection(*runner.addresses[0])
            writer.write(said)
            assert await ended(reader) == b""
            writer.close()
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        for _ in range(3):  # who has asked once may be idle for longer
            await healthy(reader, writer)
            await asyncio.sleep(0.2)
        writer.close()


async def test_connections_of_one_address_are_bounded(it: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_here", lambda _: False)
    async with kept(it, connections=5) as runner:
        good, writer = await asyncio.open_connection(*runner.addresses[0])
        await healthy(good, writer)
        idle = [await asyncio.open_connection(*runner.addresses[0]) for _ in range(12)]
        over = [asyncio.create_task(ended(reader)) for reader, _ in idle]
        async with asyncio.timeout(20):
            while sum(one.done() for one in over) < 8:
                await asyncio.sleep(0.02)
        await healthy(good, writer)  # who asks something stays
        for one in over:
            one.cancel()
        for _, other in idle:
            other.close()
        writer.close()


@pytest.mark.parametrize("bounds", [{"stalled_s": 0.3}, {"unsent": 1_000_000}])
async def test_who_does_not_read_is_shown_out(
    it: Served, monkeypatch: pytest.MonkeyPatch, bounds: dict[str, Any]
) -> None:
    monkeypatch.setattr(connections, "_here", lambda _: False)
    for n in range(20):
        obj = {"metadata": {"name": f"large{n}"}, "data": {"a": "x" * 900_000}}
        await it.registry.create(CONFIG_MAPS, "default", obj)
    async with kept(it, **bounds) as runner:
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        words = f"GET /api/v1/configmaps HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {it.root}\r\n\r\n"
        writer.write(words.encode())
        async with asyncio.timeout(20):
            assert b" 200 " in await reader.readuntil(b"\r\n")
            while runner.server and runner.server.connections:
                await asyncio.sleep(0.05)  # without reading
        writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(
    it: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_READ_S", 0.1)
    async with kept(it) as runner:
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        head = f"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {it.root}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        async with asyncio.timeout(20):
            assert b" 408 " in await reader.readuntil(b"\r\n")
        writer.close()
