"""Requests that do not end, or whose answers take long: whoever sends many, from however many addresses, waits alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from lateen.discovery.bounds import WEBHOOKS
from lateen.discovery.pages import Served, serve
from lateen.testing.ads import until

FLOODERS = [f"127.0.0.{it}" for it in range(66, 72)]
BOUNDS = WEBHOOKS._replace(strangers=60, each=30)
HEAD = b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"


class Application:
    """``/read`` answers once it has the body, ``/work`` never does."""

    def __init__(self) -> None:
        self.working = 0
        self.app = web.Application()
        self.app.router.add_post("/read", self._read)
        self.app.router.add_post("/work", self._work)

    async def _read(self, request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    async def _work(self, request: web.Request) -> web.Response:
        await request.read()
        self.working += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.working -= 1
        raise AssertionError


@asynccontextmanager
async def served(application: Application) -> AsyncIterator[Served]:
    it = await serve(application.app, 0, "127.0.0.1", bounds=BOUNDS)
    try:
        yield it
    finally:
        await it.close()


async def flood(port: int, request: bytes) -> list[asyncio.StreamWriter]:
    held = []
    for source in FLOODERS:
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            writer.write(request)
            held.append(writer)
    return held


async def answered(port: int, source: str) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        writer.write(HEAD % b"read")
        await asyncio.sleep(0.05)  # an honest body takes its time, too
        writer.write(bytes(100))
        return b"200 OK" in await asyncio.wait_for(reader.readline(), 20)
    except OSError:
        return False
    finally:
        writer.close()


@pytest.mark.finding("redteam 1: unfinished reviews from nine addresses close the webhooks to the API server")
@pytest.mark.parametrize("page", [b"read", b"work"])
async def test_bodies_that_do_not_come_close_the_port_to_nobody(page: bytes) -> None:
    async with served(Application()) as it:
        await flood(it.port, HEAD % page + b"x")
        await until(lambda: len(it.door.guests) == BOUNDS.strangers)
        assert [await answered(it.port, f"127.0.0.{2 + number}") for number in range(5)] == [True] * 5


@pytest.mark.finding("redteam 1: unfinished reviews from nine addresses close the webhooks to the API server")
async def test_answers_that_take_long_close_the_port_to_nobody() -> None:
    application = Application()
    async with served(application) as it:
        await flood(it.port, HEAD % b"work" + bytes(100))
        await until(lambda: application.working == BOUNDS.strangers)
        assert [await answered(it.port, f"127.0.0.{2 + number}") for number in range(5)] == [True] * 5
        owed = sum(guest.busy for guest in it.door.guests)
        assert application.working == owed < BOUNDS.strangers, "who had to go is no longer worked for"


@pytest.mark.finding("redteam 1: unfinished reviews from nine addresses close the webhooks to the API server")
async def test_who_leaves_is_no_longer_worked_for() -> None:
    application = Application()
    async with served(application) as it:
        held = await flood(it.port, HEAD % b"work" + bytes(100))
        await until(lambda: application.working == BOUNDS.strangers)
        for writer in held:
            writer.close()
        await until(lambda: not application.working and not it.door.guests)
