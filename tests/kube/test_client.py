"""The client against real sockets and real kubeconfig files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from lateen.kube.client import KubeClient, KubeError, http_body, path_of
from lateen.kube.config import KubeConfigError, load

CONFIG = {
    "current-context": "a",
    "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1/"}}],
    "users": [{"name": "u", "user": {"token": "secret"}}],
}


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
        ({"users": [{"name": "u", "user": {"exec": {"command": "x"}}}]}, None, "credential plug-in"),
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
        assert seen[0] == "GET /api/v1/namespaces/n/pods?limit=500&labelSelector=a%3Db Bearer secret"
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
