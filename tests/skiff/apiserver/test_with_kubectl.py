"""The real kubectl against the API: what a user sees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from skiff.apiserver.http import application
from skiff.apiserver.local import LocalApi
from skiff.apiserver.registry import Registry
from skiff.kinds import CONFIG_MAPS, NAMESPACES, PODS
from skiff.store.store import Store

KUBECTL = Path(__import__("sys").executable).with_name("kubectl")
Kubectl = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    it = Registry(Store())
    await it.create(NAMESPACES, "", {"metadata": {"name": "default"}})
    yield it
    it.store.close()


@pytest.fixture
async def kubectl(registry: Registry, tmp_path: Path) -> AsyncIterator[Kubectl]:
    runner = web.AppRunner(application(registry), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]

    async def run(*argv: str, stdin: str = "") -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            KUBECTL, "--server", f"http://127.0.0.1:{port}", "--cache-dir", str(tmp_path), *argv, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={"HOME": str(tmp_path)},
        )  # fmt: skip
        said, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        return process.returncode or 0, said.decode()

    yield run
    await runner.cleanup()


def config_map(name: str, **data: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"app": "x"}},
            "data": data,
        }
    )


async def test_create_get_label_patch_and_delete(kubectl: Kubectl) -> None:
    assert await kubectl("create", "--validate=false", "-f", "-", stdin=config_map("a", k="v")) == (
        0,
        "configmap/a created\n",
    )
    code, said = await kubectl("create", "--validate=false", "-f", "-", stdin=config_map("a"))
    assert (code, "AlreadyExists" in said) == (1, True)
    code, said = await kubectl("get", "cm")
    assert said.split()[:5] == ["NAME", "DATA", "AGE", "a", "1"]
    assert await kubectl("label", "cm", "a", "tier=front") == (0, "configmap/a labeled\n")
    assert await kubectl("get", "cm", "-l", "tier in (front,back),app=x", "-o", "name") == (
        0,
        "configmap/a\n",
    )
    assert await kubectl("get", "cm", "-l", "tier=back", "-o", "name") == (0, "")
    assert await kubectl("patch", "cm", "a", "--type", "merge", "-p", '{"data":{"k":"w"}}') == (
        0,
        "configmap/a patched\n",
    )
    assert await kubectl("get", "cm", "a", "-o", "jsonpath={.data.k}") == (0, "w")
    assert await kubectl("delete", "cm", "a") == (0, 'configmap "a" deleted from default namespace\n')
    code, said = await kubectl("get", "cm", "a")
    assert (code, said) == (1, 'Error from server (NotFound): configmaps "a" not found\n')


async def test_applying_again_changes_nothing(kubectl: Kubectl) -> None:
    for text, said in (
        (config_map("a", k="1"), "created"),
        (config_map("a", k="1"), "unchanged"),
        (config_map("a", k="2"), "configured"),
    ):
        assert await kubectl("apply", "--validate=false", "-f", "-", stdin=text) == (
            0,
            f"configmap/a {said}\n",
        )


async def test_the_tutorials_literal_command_finds_nothing(kubectl: Kubectl) -> None:
    assert await kubectl("delete", "--all", "pod", "-n", "istio-injection=enabled") == (
        0,
        "No resources found\n",
    )


async def test_api_resources_and_version(kubectl: Kubectl) -> None:
    code, said = await kubectl("api-resources", "--no-headers", "-o", "name")
    assert code == 0
    assert {"pods", "deployments.apps", "endpointslices.discovery.k8s.io"} <= set(said.split())
    code, said = await kubectl("version")
    assert "Server Version: v1.37" in said


async def test_wait_and_watch_hear_of_changes(kubectl: Kubectl, registry: Registry) -> None:
    api = LocalApi(registry)
    await api.create(
        PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [{"name": "c"}]}}
    )
    waiting = asyncio.ensure_future(kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=10s"))
    await asyncio.sleep(0.3)
    await api.patch(
        PODS,
        "default",
        "p",
        {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}},
        subresource="status",
    )
    assert await waiting == (0, "pod/p condition met\n")
    _code, said = await kubectl("get", "pods")
    assert said.split()[5:8] == ["p", "0/1", "Running"]


async def test_a_pod_of_a_node_is_marked_and_removed_by_the_node(
    kubectl: Kubectl, registry: Registry
) -> None:
    api = LocalApi(registry)
    await api.create(
        PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": {"nodeName": "n", "containers": []}}
    )
    assert (await kubectl("delete", "pod", "p", "--wait=false"))[0] == 0
    assert (await api.get(PODS, "default", "p"))["metadata"]["deletionGracePeriodSeconds"] == 30
    await api.delete(PODS, "default", "p", grace_seconds=0)
    assert await api.list(PODS) == []


async def test_finalizers_keep_an_object_until_they_are_gone(registry: Registry) -> None:
    api = LocalApi(registry)
    await api.create(CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "default", "finalizers": ["x/y"]}})
    await api.delete(CONFIG_MAPS, "default", "a")
    assert (await api.get(CONFIG_MAPS, "default", "a"))["metadata"]["deletionTimestamp"]
    await api.patch(CONFIG_MAPS, "default", "a", {"metadata": {"finalizers": None}})
    assert await api.list(CONFIG_MAPS) == []
