"""Following servers that cut, refuse, stammer and forget: what a scripted API server does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from lateen.kube.client import KubeClient
from lateen.kube.config import Connection
from lateen.kube.watch import Ears, Followed, follow

MAPS = Followed("v1", "configmaps", "default")
Sends = Callable[[web.StreamResponse], Awaitable[None]]


def event(kind: str, revision: str, name: str = "a") -> bytes:
    obj = {"kind": "ConfigMap", "metadata": {"name": name, "resourceVersion": revision}}
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def failed(**status: Any) -> bytes:
    return json.dumps({"type": "ERROR", "object": {"kind": "Status", **status}}).encode() + b"\n"


class Server:
    """Answers lists and watches as the script says; what is not in it is quiet."""

    def __init__(self) -> None:
        self.lists: list[Any] = []
        self.listed = 0
        self.watches: list[list[bytes] | web.Response] = []
        self.revisions: list[str] = []
        self.told: list[str] = []
        self.now: set[str] = set()
        self.cut = True
        self.fails = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            self.listed += 1
            found = self.lists.pop(0) if self.lists else {"items": [], "metadata": {"resourceVersion": "5"}}
            return found if isinstance(found, web.Response) else web.json_response(found)
        self.revisions.append(request.query["resourceVersion"])
        script = self.watches.pop(0) if self.watches else None
        if isinstance(script, web.Response):
            return script
        made = web.StreamResponse()
        await made.prepare(request)
        for line in script or ():
            await made.write(line)
        if script is None:
            await asyncio.sleep(60)
        if self.cut and request.transport:
            await asyncio.sleep(0.02)
            request.transport.abort()
        return made

    def on_list(self, objects: list[dict[str, Any]]) -> None:
        self.now = {it["metadata"]["name"] for it in objects}
        if self.fails:
            raise RuntimeError("bug")

    def on_event(self, kind: str, obj: dict[str, Any]) -> None:
        self.told.append(f"{kind} {obj['metadata']['name']}")
        if self.fails:
            raise RuntimeError("bug")


@asynccontextmanager
async def following(it: Server) -> AsyncIterator[asyncio.Task[Any]]:
    app = web.Application()
    app.router.add_get("/{path:.*}", it.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with KubeClient(Connection(f"http://127.0.0.1:{runner.addresses[0][1]}", None)) as client:
        task = asyncio.ensure_future(follow(client, MAPS, Ears(it.on_list, it.on_event)))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await runner.cleanup()


async def until(task: asyncio.Task[Any], met: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not met():
            assert not task.done(), task.exception()
            await asyncio.sleep(0.01)


@pytest.mark.finding("architecture 11")
async def test_a_cut_watch_goes_on_where_it_was() -> None:
    it = Server()
    it.watches = [
        [event("ADDED", "6")], [event("BOOKMARK", "9")], [event("MODIFIED", "12", "b")[:30]], [event("MODIFIED", "12")], [],
    ]  # fmt: skip
    async with following(it) as task:
        await until(task, lambda: len(it.revisions) == 6)
    assert it.revisions == ["5", "6", "9", "9", "12", "12"]
    assert (it.listed, it.told) == (1, ["ADDED a", "MODIFIED a"])


@pytest.mark.finding("architecture 11")
async def test_only_a_forgotten_place_is_listed_again() -> None:
    it = Server()
    gone = {"code": 410, "reason": "Expired", "message": "too old"}
    it.watches = [
        [failed(code=500, message="etcd leader changed")],
        [failed(**gone)],
        web.json_response(gone, status=410),
    ]
    async with following(it) as task:
        await until(task, lambda: len(it.revisions) == 4)
    assert it.listed == 3


@pytest.mark.finding("architecture 11")
@pytest.mark.parametrize(
    "line",
    [
        failed(), failed(code=None, message=None), b'{"type": "ERROR"}\n', b'{"type": "ERROR", "object": null}\n',
        failed(code=429, details={"retryAfterSeconds": 0}), b"<html>sorry</html>\n", b"[]\n", b"7\n", b"\xff\xfe\n",
        b'{"type": "ADDED"}\n', b'{"type": "ADDED", "object": {"metadata": null}}\n', b'{"object": {}}\n',
        b'{"type": "ADDED", "object": {"metadata": {"namespace": "x"}}}\n', b'{"type":"BOOKMARK","object":{"metadata":null}}\n',
        b'{"type": "ADDED", "object": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}\n",
    ],
)  # fmt: skip
async def test_nonsense_ends_nothing(line: bytes) -> None:
    it = Server()
    it.watches = [[line], [event("ADDED", "8")]]
    async with following(it) as task:
        await until(task, lambda: it.told == ["ADDED a"])
    assert (it.revisions[:2], it.listed) == (["5", "5"], 1)


@pytest.mark.finding("architecture 11")
@pytest.mark.parametrize(
    "page",
    [{}, {"items": None, "metadata": None}, {"kind": None, "items": [None, 7, {}, {"metadata": None}]}],
)
async def test_a_list_may_lack_anything(page: dict[str, Any]) -> None:
    it = Server()
    it.lists, it.watches = [page], [[event("ADDED", "8")]]
    async with following(it) as task:
        await until(task, lambda: it.told == ["ADDED a"])
    assert it.now == set()


@pytest.mark.finding("architecture 11")
async def test_a_server_that_asks_to_be_left_alone_is() -> None:
    it = Server()
    it.watches = [web.json_response({"message": "busy"}, status=429, headers={"Retry-After": "1"})]
    async with following(it) as task:
        await until(task, lambda: len(it.revisions) == 1)
        begun = time.monotonic()
        await until(task, lambda: len(it.revisions) == 2)
    assert time.monotonic() - begun > 0.9
    assert it.listed == 1


@pytest.mark.finding("architecture 11")
async def test_a_watch_that_is_refused_again_and_again_begins_with_a_list() -> None:
    it = Server()
    it.watches = [[failed(code=500, message="too large resource version")] for _ in range(5)]
    async with following(it) as task:
        await until(task, lambda: it.listed == 2)


@pytest.mark.finding("architecture 10")
async def test_who_listens_may_have_bugs() -> None:
    it = Server()
    it.fails = True
    it.watches = [[event("ADDED", "6")], [event("ADDED", "7", "b")]]
    async with following(it) as task:
        await until(task, lambda: it.told == ["ADDED a", "ADDED b"])
    assert it.listed == 1
