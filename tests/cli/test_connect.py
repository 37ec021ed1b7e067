"""Which pod does a command mean, and what does it say when there is none?"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateen.cli.connect import CommandError, with_cluster
from lateen.cli.control_planes import ControlPlane, asked
from lateen.cli.pods import label_selector, pod_reference, sidecar_pod
from lateen.cli.proxy_config import sidecar_page
from lateen.cli.proxy_status import chosen, entry_of, row


@pytest.mark.parametrize(
    ("text", "namespace", "meant"),
    [
        ("web", "", ("pod", "", "web")),
        ("web", "shop", ("pod", "shop", "web")),
        ("web.shop", "", ("pod", "shop", "web")),
        ("pod/web.shop", "", ("pod", "shop", "web")),
        ("deployment/web", "shop", ("deployment", "shop", "web")),
        ("deploy/web.shop", "", ("deploy", "shop", "web")),
        ("web.v1.shop", "", ("pod", "shop", "web.v1")),
        ("web.v1", "shop", ("pod", "shop", "web.v1")),
        ("web.shop", "shop", ("pod", "shop", "web")),
    ],
)
def test_a_reference_is_read_as_istioctl_does(text: str, namespace: str, meant: tuple[str, str, str]) -> None:
    assert pod_reference(text, namespace) == meant


async def pod(
    api_server: Any, name: str, *containers: str, phase: str = "Running", app: str = "web", node: str = ""
) -> None:
    from skiff.apiserver.local import LocalApi
    from skiff.kinds import PODS

    api = LocalApi(api_server.registry)
    spec = {"containers": [{"name": it, "image": "x"} for it in containers if it != "istio-proxy"]}
    if "istio-proxy" in containers:  # native sidecars are init containers
        spec["initContainers"] = [{"name": "istio-proxy", "image": "x", "restartPolicy": "Always"}]
    if node:  # a pod that is on one is ended by it, not at once
        spec["nodeName"] = node  # type: ignore[assignment]
    made = await api.create(PODS, {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": app}}, "spec": spec,
    })  # fmt: skip
    await api.update(PODS, {**made, "status": {"phase": phase}}, subresource="status")


DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
    "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "x"}]},
    }},
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "namespace", "said"),
    [
        (
            "plain",
            "",
            'has no sidecar (its containers: app); label the namespace with "istio-injection=enabled"',
        ),
        ("web", "", 'no pod "web" in namespace "default"; did you mean web-1, web-2'),
        ("ghost", "kube-system", "which has no pods"),
        ("late", "", "is not running: it is Pending"),
        ("deploy/ghost", "", 'no deployment "ghost"'),
        ("service/web", "", "name a pod, or a deployment"),
    ],
)
async def test_what_cannot_be_asked_is_said_with_advice(
    api_server: Any, text: str, namespace: str, said: str
) -> None:
    await pod(api_server, "plain", "app", app="plain")
    await pod(api_server, "web-1", "app", "istio-proxy")
    await pod(api_server, "web-2", "app", "istio-proxy")
    await pod(api_server, "late", "app", "istio-proxy", phase="Pending", app="late")
    async with api_server.client() as client:
        with pytest.raises(CommandError) as wrong:
            await sidecar_pod(client, text, namespace)
        assert said in str(wrong.value)


async def test_pods_and_deployments_are_found(api_server: Any) -> None:
    await pod(api_server, "web-1", "app", "istio-proxy")
    await pod(api_server, "web-0", "app", "istio-proxy", phase="Pending")
    async with api_server.client() as client:
        await client.create(DEPLOYMENT)
        assert await sidecar_pod(client, "web-1", "") == ("default", "web-1")
        assert await sidecar_pod(client, "web-1.default", "") == ("default", "web-1")
        assert await sidecar_pod(client, "deployment/web", "default") == ("default", "web-1")


@pytest.mark.finding("newcomer D.3")
async def test_of_a_workloads_pods_the_one_that_stays_and_has_a_sidecar_is_meant(api_server: Any) -> None:
    from skiff.apiserver.local import LocalApi
    from skiff.kinds import PODS

    await pod(api_server, "web-0", "app", "istio-proxy")
    await pod(api_server, "web-1", "app")
    await pod(api_server, "web-2", "app", "istio-proxy", node="skiff")
    api = LocalApi(api_server.registry)
    async with api_server.client() as client:
        await client.create(DEPLOYMENT)
        await client.create({**DEPLOYMENT, "kind": "StatefulSet"})
        await api.delete(PODS, "default", "web-2", grace_seconds=30)  # it is ending, as after a restart
        for text in ("deploy/web", "sts/web", "deployments/web.default"):
            assert await sidecar_pod(client, text, "") == ("default", "web-0")


def test_a_selector_of_a_deployment_is_one_of_a_request() -> None:
    expressions = [
        {"key": "a", "operator": "In", "values": ["x", "y"]}, {"key": "b", "operator": "NotIn", "values": ["z"]},
        {"key": "c", "operator": "Exists"}, {"key": "d", "operator": "DoesNotExist", "values": None},
    ]  # fmt: skip
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": expressions}
    assert label_selector(selector) == "app=web,a in (x,y),b notin (z),c,!d"
    assert label_selector({"matchLabels": None}) == ""


async def test_a_deployment_that_selects_by_nothing_has_no_pods(api_server: Any) -> None:
    await pod(api_server, "web-1", "app", "istio-proxy")
    async with api_server.client() as client:
        await client.create({**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "selector": {"matchExpressions": [  # type: ignore[dict-item]
            {"key": "app", "operator": "In", "values": ["web"]}, {"key": "gone", "operator": "Exists"},
        ]}}})  # fmt: skip
        with pytest.raises(CommandError, match="has no running pod"):
            await sidecar_pod(client, "deploy/web", "")


@pytest.mark.finding("newcomer D.2.8")
@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("http://127.0.0.1:1", '127.0.0.1:1 (context "prod"): .*Does the cluster run on this machine'),
        ("https://127.0.0.1:1", '(context "prod"): Connect'),
        ("http://no-such-host.invalid:6443", '(context "prod"): .*Can this machine reach it'),
    ],
)
def test_a_dead_cluster_is_named_and_not_taken_for_skiff(tmp_path: Path, server: str, said: str) -> None:
    config = {
        "current-context": "prod", "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}], "users": [{"name": "u", "user": {"token": "t"}}],
    }  # fmt: skip
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(CommandError) as wrong:
        with_cluster(str(path), "", lambda client: client.get("/api"))
    assert "\n" not in str(wrong.value)
    assert "object at" not in str(wrong.value)
    assert re.search(said.replace("(", r"\(").replace(")", r"\)"), str(wrong.value))
    assert ("skiff" in str(wrong.value)) == ("127.0.0.1" in server)


async def test_a_page_that_is_no_json_is_told(api_server: Any) -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n<html>")
        writer.close()

    await pod(api_server, "istiod-1", "app")
    from skiff.apiserver.local import LocalApi
    from skiff.kinds import PODS

    api = LocalApi(api_server.registry)
    held = await api.get(PODS, "default", "istiod-1")
    await api.update(PODS, {**held, "spec": {**held["spec"], "nodeName": "n"}}, subresource="binding")
    server = await asyncio.start_server(page, "127.0.0.1", 0)
    api_server.node.ports["default", "istiod-1", 15014] = server.sockets[0].getsockname()[1]
    async with server, api_server.client() as client:
        with pytest.raises(CommandError, match="answers /debug/syncz with no JSON: '<html>'"):
            await ControlPlane(client, "default", "istiod-1").json("/debug/syncz")


@pytest.mark.finding("issue 7 part 7")
async def test_a_control_plane_that_goes_while_it_is_asked_is_followed_by_the_next(
    api_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skiff.apiserver.local import LocalApi
    from skiff.kinds import PODS

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n[]")
        writer.close()

    await pod(api_server, "istiod-1", "app", app="istiod", node="n")
    server = await asyncio.start_server(page, "127.0.0.1", 0)
    monkeypatch.setattr("lateen.kube.client._FIRST_WAIT_S", 0.01)

    class Leaving:
        """The node of a pod that ends at the moment when somebody wants to reach it."""

        async def dial(self, namespace: str, name: str, port: int) -> Any:
            if name == "istiod-1":
                await LocalApi(api_server.registry).delete(PODS, namespace, name, grace_seconds=0)
                await pod(api_server, "istiod-2", "app", app="istiod", node="n")
                raise ConnectionRefusedError(port)
            return await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])

    monkeypatch.setattr(api_server.node, "dial", Leaving().dial)

    async def ask(plane: ControlPlane) -> str:
        assert await plane.json("/debug/syncz") == []
        return plane.pod

    async with server, api_server.client() as client:
        assert await asked(client, "default", ask) == ["istiod-2"]


@pytest.mark.finding("issue 7 part 7")
async def test_of_a_workload_whose_pod_goes_while_it_is_asked_the_next_is_asked(
    api_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skiff.apiserver.local import LocalApi
    from skiff.kinds import PODS

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\n\r\n{"configs": []}')
        writer.close()

    monkeypatch.setattr("lateen.kube.client._FIRST_WAIT_S", 0.01)
    api, server = LocalApi(api_server.registry), await asyncio.start_server(page, "127.0.0.1", 0)
    await pod(api_server, "web-1", "app", "istio-proxy", node="n")

    async def dial(namespace: str, name: str, port: int) -> Any:
        if name == "web-1":
            await api.delete(PODS, namespace, name, grace_seconds=0)
            await pod(api_server, "web-2", "app", "istio-proxy", node="n")
            raise ConnectionRefusedError(port)
        return await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])

    monkeypatch.setattr(api_server.node, "dial", dial)
    async with server, api_server.client() as client:
        await client.create(DEPLOYMENT)
        assert await sidecar_page(client, "deploy/web", "", 15000) == {"configs": []}
        await api.delete(PODS, "default", "web-2", grace_seconds=0)
        with pytest.raises(CommandError, match="has no running pod"):
            await sidecar_page(client, "deploy/web", "", 15000)


def entry(proxy: str, **more: Any) -> dict[str, Any]:
    return {
        "proxy": proxy,
        "istiod": "istiod-1",
        "cluster_id": "Kubernetes",
        "proxy_version": "0.1.0",
        **more,
    }


def test_a_proxy_is_chosen_by_name_and_namespace() -> None:
    found = [entry("web-1.a"), entry("web-1.b"), entry("api-1.a")]
    assert chosen(found, "api-1", "")["proxy"] == "api-1.a"
    assert chosen(found, "web-1.b", "")["proxy"] == chosen(found, "web-1", "b")["proxy"] == "web-1.b"
    with pytest.raises(CommandError, match=r"web-1.a or web-1.b"):
        chosen(found, "web-1", "")
    with pytest.raises(CommandError, match=r"did you mean web-1.a, web-1.b"):
        chosen(found, "web", "")
    with pytest.raises(CommandError, match="lateen proxy-status"):
        chosen(found, "ghost", "")


@pytest.mark.finding("newcomer D.2.5")
async def test_a_pod_that_never_connects_is_told_why(api_server: Any) -> None:
    await pod(api_server, "plain", "app")
    await pod(api_server, "fresh", "app", "istio-proxy")
    async with api_server.client() as client:
        with pytest.raises(CommandError, match=r'has no sidecar .*"istio-injection=enabled"'):
            await entry_of(client, [], "plain", "default")
        with pytest.raises(CommandError, match='no proxy "fresh" is connected'):
            await entry_of(client, [], "fresh", "default")
        with pytest.raises(CommandError, match='no proxy "ghost" is connected'):
            await entry_of(client, [], "ghost", "default")


def test_a_row_says_state_and_age() -> None:
    shown = row(entry("web-1.a", cluster_status="SYNCED", cluster_age_s=75.0, listener_status="ERROR", listener_age_s=3.2,
                      endpoint_status="STALE (Never Acknowledged)", endpoint_age_s=7200.0))  # fmt: skip
    assert shown == (
        "web-1.a", "Kubernetes", "SYNCED (1m)", "ERROR (3s)", "STALE (Never Acknowledged) (2h)", "NOT SENT", "NOT SENT",
        "istiod-1", "0.1.0",
    )  # fmt: skip
