"""The client against real sockets and real kubeconfig files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from lateen.kube import client as kube_client
from lateen.kube.client import KubeClient, KubeError, http_body, path_of
from lateen.kube.config import Connection, KubeConfigError, load
from lateen.kube.errors import refusal
from lateen.kube.forward import CutOffError

CONFIG = {
    "current-context": "a",
    "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1/"}}],
    "users": [{"name": "u", "user": {"token": "secret"}}],
}


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_client, "_FIRST_WAIT_S", 0.01)


def written(folder: Path, **changes: object) -> str:
    path = folder / "config"
    path.write_text(yaml.safe_dump({**CONFIG, **changes}))
    return str(path)


def test_a_kubeconfig_names_server_namespace_and_token(tmp_path: Path) -> None:
    it = load(written(tmp_path), None)
    assert (it.server, it.namespace, it.bearer()) == ("http://127.0.0.1:1", "n", "secret")
    assert "secret" not in repr(it)


@pytest.mark.parametrize(
    ("changes", "context", "said"),
    [
        ({}, "b", 'no context "b"; there are: a'),
        ({"users": []}, None, 'names the user "u", which is not defined'),
        ({"users": [{"name": "u", "user": {"exec": {"command": "x"}}}]}, None, "exec.apiVersion"),
    ],
)
def test_a_wrong_kubeconfig_says_what_is_wrong(
    tmp_path: Path, changes: dict[str, object], context: str | None, said: str
) -> None:
    with pytest.raises(KubeConfigError, match=said):
        load(written(tmp_path, **changes), context)


def test_paths_follow_group_scope_and_plural() -> None:
    meta = {"name": "a", "namespace": "n"}
    assert (
        path_of({"apiVersion": "v1", "kind": "Service", "metadata": meta})
        == "/api/v1/namespaces/n/services/a"
    )
    assert (
        path_of({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})
        == "/api/v1/namespaces/a"
    )
    vs = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": meta}
    assert path_of(vs, named=False) == "/apis/networking.istio.io/v1/namespaces/n/serviceentries"


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, list[str]]]:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(f"{request.method} {request.path_qs} {request.headers.get('Authorization', '')}".strip())
        if request.path.endswith("/busy") and len(seen) < 3:
            return web.json_response({"message": "busy"}, status=503)
        if request.path.endswith("/absent"):
            return web.json_response(
                {"kind": "Status", "reason": "NotFound", "message": 'pods "absent" not found'}, status=404
            )
        if request.query.get("limit") and not request.query.get("continue"):
            return web.json_response({"items": [{"n": 1}], "metadata": {"continue": "x"}})
        return web.json_response({"items": [{"n": 2}], "metadata": {}})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
    await runner.cleanup()


async def test_lists_are_read_page_by_page_and_overload_is_waited_out(
    server: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, seen = server
    config = written(tmp_path, clusters=[{"name": "c", "cluster": {"server": url}}])
    async with KubeClient.from_environment(config, None) as client:
        assert await client.list("v1", "pods", "n", labels="a=b") == [{"n": 1}, {"n": 2}]
        assert seen[0] == "GET /api/v1/namespaces/n/pods?labelSelector=a%3Db&limit=500 Bearer secret"
        seen.clear()
        assert await client.get("/api/v1/busy")
        assert len(seen) == 3
        assert await client.get("/api/v1/absent") is None
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "absent", "namespace": "n"}}
        assert await client.delete(pod) is False
        with pytest.raises(KubeError, match="not found"):
            await client.apply(pod, "me")


def test_an_answer_of_a_pod_is_read_in_both_framings() -> None:
    assert http_body(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") == b"hi"
    assert (
        http_body(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\n you\r\n0\r\n\r\n"[
                :-1
            ].replace(b"3\r\n you", b"4\r\n you")
        )
        == b"hi you"
    )
    with pytest.raises(KubeError, match="did not answer by HTTP"):
        http_body(b"SSH-2.0")
    with pytest.raises(KubeError, match="gone"):
        http_body(b"HTTP/1.1 500 X\r\n\r\ngone")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nh",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
    ],
)
def test_half_an_answer_of_a_pod_is_no_answer(raw: bytes) -> None:
    with pytest.raises(CutOffError):
        http_body(raw)


class Scripted:
    """A server that answers each request with the next of some answers; None and the half of one cut the connection."""

    def __init__(self, *answers: web.Response | bytes | None) -> None:
        self._answers = list(answers)
        self.seen: list[tuple[str, str]] = []

    @asynccontextmanager
    async def client(self, **how: Any) -> AsyncIterator[KubeClient]:
        runner = web.ServerRunner(web.Server(self._answer))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with KubeClient(Connection(url, None, **how)) as client:
                yield client
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        self.seen.append((request.method, request.path))
        answer = self._answers.pop(0)
        if answer is None or isinstance(answer, bytes):
            assert request.transport
            if answer:
                half = web.StreamResponse(headers={"Content-Length": "100"})
                await half.prepare(request)
                await half.write(answer)
                await asyncio.sleep(0.05)
            request.transport.abort()
            return web.Response()
        return answer


def said(obj: Any, status: int = 200, **headers: str) -> web.Response:
    return web.json_response(obj, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "m", "namespace": "n"},
    "data": {"k": "v"},
}
EXISTS = {"kind": "Status", "reason": "AlreadyExists", "message": 'configmaps "m" already exists'}
STORED = {**MAP, "metadata": {**MAP["metadata"], "uid": "1", "managedFields": []}}  # type: ignore[dict-item]


@pytest.mark.finding("architecture 10")
@pytest.mark.parametrize("body", ["<html>Sign in</html>", "", "[]", "7", "{", "[" * 100_000])
async def test_a_page_of_something_else_is_a_refusal_and_says_so(body: str) -> None:
    pages = [web.Response(text=body, content_type="text/html") for _ in range(10)]
    async with Scripted(*pages).client() as client:
        with pytest.raises(
            KubeError, match=r"no object of Kubernetes.*does a proxy before it answer"
        ) as wrong:
            await client.get("/api/v1/namespaces/n")
        assert wrong.value.code == 502


@pytest.mark.finding("real kubernetes 1")
async def test_a_list_may_be_null() -> None:
    async with Scripted(said({"items": None, "metadata": None}), said({})).client() as client:
        assert await client.list("v1", "pods") == []
        assert await client.list("v1", "pods") == []


async def test_the_server_says_how_long_it_wants_to_be_left_alone() -> None:
    busy = said({"kind": "Status", "message": "busy"}, 429, Retry_After="1")
    server = Scripted(busy, said(STORED))
    async with server.client() as client:
        began = time.monotonic()
        assert await client.create(MAP) == STORED
        assert time.monotonic() - began >= 1.0
    # However long it asks for, nobody waits longer than the bound.
    assert refusal(429, b"{}", "100000").retry_after_s == 100000.0
    assert refusal(429, b'{"details": {"retryAfterSeconds": 3}}').retry_after_s == 3.0
    assert refusal(503, b"null", "Wed, 21 Oct 2026 07:28:00 GMT").retry_after_s is None


async def test_what_was_made_and_not_answered_is_not_an_error() -> None:
    server = Scripted(None, said(EXISTS, 409), said(STORED))
    async with server.client() as client:
        assert await client.create(MAP) == STORED
        assert [method for method, _ in server.seen] == ["POST", "POST", "GET"]


async def test_what_somebody_else_made_is_an_error() -> None:
    other = {**STORED, "data": {"k": "other"}}
    for answers in ([None, said(EXISTS, 409), said(other)], [said(EXISTS, 409)]):
        async with Scripted(*answers).client() as client:
            with pytest.raises(KubeError, match="already exists"):
                await client.create(MAP)


async def test_what_has_no_name_is_not_sent_twice_and_a_review_is() -> None:
    unnamed = {**MAP, "metadata": {"generateName": "m-", "namespace": "n"}}
    async with Scripted(None, said(STORED)).client() as client:
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.create(unnamed)
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "metadata": {},
        "spec": {"token": "x"},
    }
    async with Scripted(None, said({"message": "no"}, 500), said(review)).client() as client:
        assert await client.create(review) == review


async def test_an_answer_cut_in_the_middle_is_asked_for_again() -> None:
    server = Scripted(b'{"kind":', None, said({}, 503), said(STORED))
    async with server.client() as client:
        assert await client.apply(MAP, "me") == STORED
        assert len(server.seen) == 4


async def test_a_conflict_of_versions_is_tried_again_and_one_of_owners_is_told() -> None:
    changed = {
        "reason": "Conflict",
        "message": "the object has been modified; please apply your changes to the latest",
    }
    owned = {
        "reason": "Conflict",
        "message": 'Apply failed with 1 conflict: conflict with "kubectl": .data.k',
    }
    async with Scripted(said(changed, 409), said(STORED)).client() as client:
        assert await client.apply(MAP, "me") == STORED
    async with Scripted(said(changed, 409), said(STORED)).client() as client:
        assert await client.patch(MAP, {"data": {}}) == STORED
    async with Scripted(said(changed, 409)).client() as client:
        with pytest.raises(KubeError, match="has been modified"):
            await client.patch(MAP, {"metadata": {"resourceVersion": "1"}, "data": {}})
    async with Scripted(said(owned, 409)).client() as client:
        with pytest.raises(KubeError, match="conflict with"):
            await client.apply(MAP, "me")


async def test_a_forgotten_page_begins_the_list_again_and_at_last_without_pages() -> None:
    first = {"items": [{"n": 1}], "metadata": {"continue": "x"}}
    gone = {"reason": "Expired", "message": "The provided continue parameter is too old"}
    answers = [
        said(first),
        said(gone, 410),
        said(first),
        said(gone, 410),
        said({"items": [{"n": 1}, {"n": 2}]}),
    ]
    async with Scripted(*answers).client() as client:
        assert await client.list("v1", "pods") == [{"n": 1}, {"n": 2}]


async def test_impersonation_is_said_with_each_request() -> None:
    server = Scripted(said({}))
    async with server.client(headers=(("Impersonate-User", "jane"), ("Impersonate-Group", "a"))) as client:
        assert await client.get("/api") == {}


async def test_lines_come_whole_however_they_are_cut_and_have_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kube_client, "_LONGEST_LINE", 1000)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        made = web.StreamResponse()
        await made.prepare(request)
        for piece in (b"on", b"e\n\ntwo\nth", b"ree\n", b"x" * 600, b"x" * 600 + b"\n"):
            await made.write(piece)
            await asyncio.sleep(0.01)
        return made

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    heard: list[bytes] = []

    async def listen(client: KubeClient) -> None:
        async for line in client.lines("/api/v1/pods", {}):
            heard.append(line)  # noqa: PERF401  # what came before the refusal counts

    async with KubeClient(Connection(f"http://127.0.0.1:{runner.addresses[0][1]}", None)) as client:
        with pytest.raises(KubeError, match="has more than 1000 bytes"):
            await listen(client)
    assert heard == [b"one", b"two", b"three"]
    await runner.cleanup()
