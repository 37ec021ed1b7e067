"""The agent's server among callers who take places and do not ask, ask in parts, or do not listen."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import pytest

from lateen.agent import serving
from lateen.agent.http import Request, Response
from lateen.agent.shared import Shared
from lateen.testing import rude

LARGE = b"x" * (8 * 2**20)


async def _page(request: Request) -> Response:
    if request.path == "/large":
        return Response(200, LARGE)
    if request.path == "/slow":
        await asyncio.sleep(60)
    return Response(200, request.path.encode())


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = await serving.serve(_page, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def from_address(port: int, number: int = 1) -> rude.Connect:
    """The whole of 127.0.0.0/8 is ours: as many callers as a test needs."""
    source = f"127.0.{number // 200}.{number % 200 + 2}"
    return lambda: socket.create_connection(("127.0.0.1", port), 2, (source, 0))


async def amid(callers: list[rude.Connect], data: bytes = rude.HALF, *, port: int) -> None:
    """The kubelet's probes while a crowd is there."""

    def both() -> None:
        with rude.crowd(callers, data):
            kubelet(port)

    await asyncio.to_thread(both)


def kubelet(port: int) -> list[float]:
    """How long each of twenty probes took, seconds; each must be answered."""
    took = []
    for _ in range(20):
        begun = time.monotonic()
        assert rude.status(from_address(port, 199), "/healthz/ready") == 200
        took.append(time.monotonic() - begun)
    return took


@pytest.mark.finding("security 7")
@pytest.mark.parametrize("addresses", [1, 3, 100, 900])
async def test_a_probe_gets_through_a_crowd_that_never_finishes_asking(port: int, addresses: int) -> None:
    callers = [from_address(port, 200 + at % addresses) for at in range(max(300, addresses))]
    await amid(callers, port=port)


@pytest.mark.finding("security 7")
async def test_a_probe_gets_through_when_others_ask_from_its_own_address(port: int) -> None:
    await amid([from_address(port, 199)] * 300, port=port)


@pytest.mark.finding("security 7")
async def test_a_probe_gets_through_a_crowd_that_waits_for_slow_pages(port: int) -> None:
    callers = [from_address(port, 200 + at % 20) for at in range(600)]
    await amid(callers, b"GET /slow HTTP/1.1\r\n\r\n", port=port)


@pytest.mark.finding("security 7")
async def test_a_probe_gets_through_a_crowd_that_does_not_take_its_answers(port: int) -> None:
    callers = [from_address(port, 200 + at % 5) for at in range(200)]
    await amid(callers, b"GET /large HTTP/1.1\r\n\r\n", port=port)


@pytest.mark.finding("security 7")
@pytest.mark.parametrize("half", [b"", b"GET", rude.HALF, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"])
async def test_who_does_not_finish_asking_is_not_waited_for(port: int, half: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(half)
    async with asyncio.timeout(serving._ASK_S * 3):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.finding("security 7")
async def test_who_asks_letter_by_letter_is_not_waited_for_either(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def dribble() -> None:
        for letter in b"GET /" + b"a" * 1000:
            writer.write(bytes([letter]))
            await asyncio.sleep(0.05)

    task = asyncio.ensure_future(dribble())
    async with asyncio.timeout(serving._ASK_S * 3):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    task.cancel()
    writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nContent-Length: ²\r\n\r\nab".encode("latin-1"),
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\na: " + b"x" * 65536 + b"\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n", b"\0" * 100 + b"\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_is_not_clear_is_not_answered(port: int, sent: bytes) -> None:
    assert await asyncio.to_thread(rude.said, from_address(port), sent) == b""
    assert await asyncio.to_thread(rude.status, from_address(port), "/") == 200


async def test_a_second_request_on_a_connection_is_not_heard(port: int) -> None:
    two = b"GET /one HTTP/1.1\r\n\r\nGET /two HTTP/1.1\r\n\r\n"
    answer = await asyncio.to_thread(rude.said, from_address(port), two)
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b"/one")


async def test_a_large_answer_arrives_whole(port: int) -> None:
    answer = await asyncio.to_thread(rude.said, from_address(port), b"GET /large HTTP/1.1\r\n\r\n", 20.0)
    assert answer.endswith(b"\r\n\r\n" + LARGE)


async def test_many_who_ask_the_same_are_answered_once() -> None:
    shared: Shared[int] = Shared()
    made, go_on = [], asyncio.Event()

    async def make() -> int:
        made.append(1)
        await go_on.wait()
        return len(made)

    asked = [asyncio.ensure_future(shared.get("it", make)) for _ in range(100)]
    await asyncio.sleep(0)
    asked[0].cancel()
    go_on.set()
    assert set((await asyncio.gather(*asked, return_exceptions=True))[1:]) == {1}
    assert await shared.get("it", make) == 2


async def test_what_nobody_waits_for_any_more_is_given_up() -> None:
    shared: Shared[None] = Shared()
    ended = asyncio.Event()

    async def make() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    asked = [asyncio.ensure_future(shared.get("it", make)) for _ in range(3)]
    await asyncio.sleep(0)
    for it in asked:
        it.cancel()
    await asyncio.wait_for(ended.wait(), 5)
