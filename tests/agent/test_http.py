"""HTTP/1.1 as the agent speaks it, to itself and to others."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import web

from lateen.agent import http, serving
from lateen.agent.http import Endpoint, ProtocolError, Request, Response


async def _echo(request: Request) -> Response:
    if request.path == "/bug":
        raise RuntimeError("a bug")
    return Response(
        203, f"{request.method} {request.path} {request.local} {request.headers.get('x-a')}".encode()
    )


@pytest.fixture
async def port():  # type: ignore[no-untyped-def]
    server = await serving.serve(_echo, 0, "127.0.0.1")
    yield server.sockets[0].getsockname()[1]
    server.close()


async def raw(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    found = await reader.read()
    writer.close()
    return found


async def test_client_and_server_understand_each_other(port: int) -> None:
    found = await http.fetch(Endpoint("127.0.0.1", port), "/a?b", method="POST", headers={"x-a": "c"})
    assert (found.status, found.body) == (203, b"POST /a?b True c")
    head = await http.fetch(Endpoint("127.0.0.1", port), "/", method="HEAD")
    assert (head.status, head.body) == (203, b"")


async def test_a_body_is_read_before_the_answer(port: int) -> None:
    found = await raw(port, b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
    assert found.startswith(b"HTTP/1.1 203 Non-Authoritative Information\r\n")


@pytest.mark.parametrize("sent", [
    b"nonsense\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n",
    b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"GET / HTTP/1.1\r\na: " + b"x" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\na: b\n\nGET /admin HTTP/1.1\r\n\r\n",
])  # fmt: skip
async def test_who_speaks_no_http_is_not_answered(port: int, sent: bytes) -> None:
    with contextlib.suppress(ConnectionResetError):
        assert await raw(port, sent) == b""
    assert (await http.fetch(Endpoint("127.0.0.1", port), "/")).status == 203


async def test_a_bug_in_a_page_is_a_500(port: int) -> None:
    assert (await http.fetch(Endpoint("127.0.0.1", port), "/bug")).status == 500


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello",
    ],
)
async def test_all_forms_of_a_body(scripted, sent: bytes) -> None:  # type: ignore[no-untyped-def]
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)

    async with scripted(script) as port:
        assert (await http.fetch(Endpoint("127.0.0.1", port), "/")).body == b"hello"


@pytest.mark.parametrize(
    "sent",
    [
        b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_is_no_answer_is_an_os_error(scripted, sent: bytes) -> None:  # type: ignore[no-untyped-def]
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)

    async with scripted(script) as port:
        with pytest.raises(ProtocolError, match=f"127.0.0.1:{port} is not HTTP"):
            await http.fetch(Endpoint("127.0.0.1", port), "/")


async def test_a_server_of_others_answers_us() -> None:
    async def page(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(100):
            await answer.write(b"x" * 1000)
        return answer

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        found = await http.fetch(Endpoint("127.0.0.1", runner.addresses[0][1]), "/")
    finally:
        await runner.cleanup()
    assert len(found.body) == 100_000


async def test_patience_ends(scripted) -> None:  # type: ignore[no-untyped-def]
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with scripted(script) as port:
        with pytest.raises(TimeoutError):
            await http.fetch(Endpoint("127.0.0.1", port), "/", timeout_s=0.05)
