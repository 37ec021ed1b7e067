"""No answer, no event and no read before its commit; what could not be committed never was."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from skiff.apiserver.allocation import Addresses
from skiff.apiserver.custom import CustomKinds
from skiff.apiserver.http import application
from skiff.apiserver.local import LocalApi
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError
from skiff.kinds import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, NAMESPACES, PODS, SERVICES
from skiff.store import file
from skiff.store.store import Store

pytestmark = pytest.mark.finding("skiff 1")

Client = TestClient[Any, Any]
NS = "/api/v1/namespaces/n"
MERGE, STRATEGIC, JSON_PATCH, APPLY = (
    "application/merge-patch+json", "application/strategic-merge-patch+json", "application/json-patch+json",
    "application/apply-patch+yaml",
)  # fmt: skip
GROUP = "shop.example.org"
DEFINITION = {
    "metadata": {"name": f"carts.{GROUP}"},
    "spec": {
        "group": GROUP, "scope": "Namespaced", "names": {"plural": "carts", "kind": "Cart"},
        "versions": [{
            "name": "v1", "served": True, "storage": True,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        }],
    },
}  # fmt: skip


@pytest.fixture
async def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Registry]:
    monkeypatch.setattr(file, "_LOCK_MS", 60_000)  # so that a lock makes a slow commit, and no failure
    it = Registry(Store(tmp_path / "cluster.db"), addresses=Addresses("10.96.0.0/16"))
    CustomKinds(it)
    await it.create(NAMESPACES, "", {"metadata": {"name": "n"}})
    for number in range(3):
        await it.create(CONFIG_MAPS, "n", {"metadata": {"name": f"c{number}"}, "data": {"a": "1"}})
    await it.create(
        PODS, "n", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    )
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {}},
    }
    await it.create(DEPLOYMENTS, "n", {"metadata": {"name": "d"}, "spec": spec})
    await it.store.settled(it.store.mark())
    yield it
    it.store.close()


@pytest.fixture
async def client(registry: Registry) -> AsyncIterator[Client]:
    async with TestClient(TestServer(application(registry))) as it:
        yield it


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cluster.db"


@contextmanager
def slow(path: Path) -> Iterator[Callable[[], None]]:
    """Commits take until the function is called: somebody else holds the lock of the file."""
    somebody = sqlite3.connect(path, isolation_level=None)
    somebody.execute("BEGIN IMMEDIATE")
    try:
        yield lambda: somebody.execute("ROLLBACK") and None
    finally:
        somebody.close()


def kept(path: Path) -> int:
    with sqlite3.connect(path) as db:
        found: int = db.execute("SELECT rev FROM revision").fetchone()[0]
    db.close()
    return found


async def held_back(registry: Registry, path: Path, write: Awaitable[Any]) -> Any:
    """What a write answers, which it must not before its commit."""
    store = registry.store
    before = store.revision
    with slow(path) as go_on:
        asked = asyncio.ensure_future(write)
        while store.revision == before:
            await asyncio.sleep(0.001)
            assert not asked.done(), asked.result()
        await asyncio.sleep(0.1)
        assert not asked.done()
        assert store.committed == before
        newest = store.revision
        go_on()
        answer = await asked
    assert kept(path) >= newest
    return answer


CM = {"metadata": {"name": "new"}, "data": {"a": "1"}}
EVENT = {
    "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "n", "name": "p"}, "reason": "R", "type": "Normal",
}  # fmt: skip
WRITES = {
    "create": ("POST", f"{NS}/configmaps", "application/json", CM),
    "update": ("PUT", f"{NS}/configmaps/c0", "application/json", {"metadata": {"name": "c0"}, "data": {"b": "2"}}),
    "merge patch": ("PATCH", f"{NS}/configmaps/c0", MERGE, {"data": {"b": "2"}}),
    "strategic patch": ("PATCH", f"{NS}/configmaps/c0", STRATEGIC, {"data": {"b": "2"}}),
    "json patch": ("PATCH", f"{NS}/configmaps/c0", JSON_PATCH, [{"op": "add", "path": "/data/b", "value": "2"}]),
    "apply": ("PATCH", f"{NS}/configmaps/new?fieldManager=me", APPLY, {"apiVersion": "v1", "kind": "ConfigMap", **CM}),
    "delete": ("DELETE", f"{NS}/configmaps/c0", "application/json", {}),
    "mark as deleted": ("DELETE", f"{NS}/configmaps/c0?propagationPolicy=Foreground", "application/json", {}),
    "deletecollection": ("DELETE", f"{NS}/configmaps", "application/json", {}),
    "status": ("PUT", f"{NS}/pods/p/status", "application/json", {"metadata": {"name": "p"}, "status": {"phase": "Failed"}}),
    "patch of status": ("PATCH", f"{NS}/pods/p/status", MERGE, {"status": {"phase": "Failed"}}),
    "scale": ("PUT", "/apis/apps/v1/namespaces/n/deployments/d/scale", "application/json", {"spec": {"replicas": 3}}),
    "patch of scale": ("PATCH", "/apis/apps/v1/namespaces/n/deployments/d/scale", MERGE, {"spec": {"replicas": 3}}),
    "binding": ("POST", f"{NS}/pods/p/binding", "application/json", {"target": {"kind": "Node", "name": "skiff"}}),
    "eviction": ("POST", f"{NS}/pods/p/eviction", "application/json", {"metadata": {"name": "p"}}),
    "finalize": ("PUT", "/api/v1/namespaces/n/finalize", "application/json", {"metadata": {"name": "n"}, "spec": {}}),
    "event": ("POST", f"{NS}/events", "application/json", EVENT),
    "service": ("POST", f"{NS}/services", "application/json", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}),
    "definition": ("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "application/json", DEFINITION),
}  # fmt: skip


@pytest.mark.parametrize("write", WRITES)
async def test_no_write_is_answered_before_its_commit(
    registry: Registry, client: Client, path: Path, write: str
) -> None:
    method, url, form, body = WRITES[write]
    made = client.request(method, url, data=json.dumps(body), headers={"Content-Type": form})
    answer = await held_back(registry, path, made)
    assert answer.status in (200, 201), await answer.text()


async def test_writes_of_controllers_wait_as_well(registry: Registry, path: Path) -> None:
    api = LocalApi(registry)
    made = await held_back(
        registry, path, api.create(CONFIG_MAPS, {"metadata": {"name": "l", "namespace": "n"}})
    )
    made = await held_back(registry, path, api.update(CONFIG_MAPS, {**made, "data": {"a": "1"}}))
    made = await held_back(registry, path, api.patch(CONFIG_MAPS, "n", "l", {"data": {"a": "2"}}))
    await held_back(registry, path, api.update(PODS, {"metadata": {"name": "p", "namespace": "n"}, "status": {"phase": "Failed"}},
                                              subresource="status"))  # fmt: skip
    await held_back(registry, path, api.delete(CONFIG_MAPS, "n", "l"))
    service = await held_back(
        registry, path, api.create(SERVICES, {"metadata": {"name": "l", "namespace": "n"}, "spec": {"ports": [{"port": 80}]}})
    )  # fmt: skip
    assert service["spec"]["clusterIP"]


async def test_readers_and_refusals_show_only_what_is_committed(
    registry: Registry, client: Client, path: Path
) -> None:
    api = LocalApi(registry)
    with slow(path) as go_on:
        first = asyncio.create_task(client.post(f"{NS}/configmaps", json=CM))
        gone = asyncio.create_task(client.delete(f"{NS}/configmaps/c0"))
        while registry.store.get(CONFIG_MAPS.storage, "n", "c0"):
            await asyncio.sleep(0.001)
        second = asyncio.create_task(
            client.post(f"{NS}/configmaps", json=CM)
        )  # it is there already: says who?
        missing = asyncio.create_task(client.delete(f"{NS}/configmaps/c0"))
        assert (await client.get(f"{NS}/configmaps/new")).status == 404
        assert (await client.get(f"{NS}/configmaps/c0")).status == 200
        listed = await (await client.get(f"{NS}/configmaps")).json()
        assert [it["metadata"]["name"] for it in listed["items"]] == ["c0", "c1", "c2"]
        assert (
            int(listed["metadata"]["resourceVersion"]) == registry.store.committed < registry.store.revision
        )
        assert [it["metadata"]["name"] for it in await api.list(CONFIG_MAPS, "n")] == ["c0", "c1", "c2"]
        assert await api.get(CONFIG_MAPS, "n", "c0")
        await asyncio.sleep(0.1)
        assert not any(it.done() for it in (first, gone, second, missing))
        go_on()
        assert [(await it).status for it in (first, gone, second, missing)] == [201, 200, 409, 404]


async def test_watchers_hear_after_the_commit(registry: Registry, client: Client, path: Path) -> None:
    local: list[tuple[str, str]] = []

    async def follow() -> None:
        async for it in LocalApi(registry).watch(CONFIG_MAPS):
            local.append((it.type, (it.object.get("metadata") or {}).get("name", "")))  # noqa: PERF401  # as they come

    following = asyncio.create_task(follow())
    async with client.get(f"{NS}/configmaps?watch=1&resourceVersion={registry.store.committed}") as events:
        with slow(path) as go_on:
            asked = asyncio.create_task(client.post(f"{NS}/configmaps", json=CM))
            while not registry.store.get(CONFIG_MAPS.storage, "n", "new"):
                await asyncio.sleep(0.001)
            heard = asyncio.create_task(events.content.readline())
            url = f"{NS}/configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
            async with client.get(url) as late:  # who comes meanwhile begins with what is committed
                names = [
                    msgspec.json.decode(await late.content.readline())["object"]["metadata"] for _ in range(4)
                ]
                assert [it.get("name") for it in names] == ["c0", "c1", "c2", None]
                assert names[3]["resourceVersion"] == str(registry.store.committed)
                await asyncio.sleep(0.1)
                assert not heard.done()
                assert local == [*(("ADDED", f"c{number}") for number in range(3)), ("SYNCED", "")]
                go_on()
                made = (await (await asked).json())["metadata"]
                for line in (await heard, await late.content.readline()):
                    assert (
                        msgspec.json.decode(line)["object"]["metadata"]["resourceVersion"]
                        == made["resourceVersion"]
                    )
        assert local[-1] == ("ADDED", "new")
    following.cancel()


async def test_a_full_disk_refuses_writes_and_undoes_them_and_readers_go_on(
    registry: Registry, client: Client
) -> None:
    store = registry.store
    database = store._file._db
    before = (store.read_all(CONFIG_MAPS.storage), store.committed)
    database.execute(f"PRAGMA max_page_count={database.execute('PRAGMA page_count').fetchone()[0]}")
    large = {"metadata": {"name": "large"}, "data": {"a": "x" * 100_000}}
    definition = {**DEFINITION, "metadata": {**DEFINITION["metadata"], "annotations": {"a": "x" * 100_000}}}  # type: ignore[dict-item]
    url = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    refused = await client.post(f"{NS}/configmaps", json=large)
    said = await refused.json()
    assert (refused.status, said["reason"], refused.headers["Retry-After"]) == (
        503,
        "ServiceUnavailable",
        "1",
    )
    assert (
        said["message"]
        == "the database could not be written (database or disk is full), and the change was not kept: try again"
    )
    assert (await client.get("/readyz")).status == 500
    assert (await client.get("/livez")).status == 200
    assert (await client.get(f"{NS}/configmaps/large")).status == 404
    with pytest.raises(ApiError, match="disk is full"):
        await LocalApi(registry).create(
            CONFIG_MAPS, {**large, "metadata": {"name": "large", "namespace": "n"}}
        )
    assert (await client.post(url, json=definition)).status == 503
    assert (GROUP, "v1", "carts") not in registry.kinds  # what was registered is forgotten
    assert (await client.get(f"/apis/{GROUP}/v1/namespaces/n/carts")).status == 404
    assert (store.read_all(CONFIG_MAPS.storage), store.committed) == before
    assert registry.get(CONFIG_MAPS, "n", "c0") is registry.read(CONFIG_MAPS, "n", "c0")
    database.execute("PRAGMA max_page_count=1000000")
    while (await client.get("/readyz")).status != 200:
        await asyncio.sleep(0.05)
    assert (await client.post(f"{NS}/configmaps", json=large)).status == 201
    assert (await client.post(url, json=definition)).status == 201
    assert registry.store.get(CUSTOM_RESOURCE_DEFINITIONS.storage, "", f"carts.{GROUP}")
    assert (await client.get(f"/apis/{GROUP}/v1/namespaces/n/carts")).status == 200
    # A change and an end of a definition that could not be kept leave it as it was.
    database.execute(f"PRAGMA max_page_count={database.execute('PRAGMA page_count').fetchone()[0]}")
    held = registry.get(CUSTOM_RESOURCE_DEFINITIONS, "", f"carts.{GROUP}")
    spec: dict[str, Any] = held["spec"]
    version = held["metadata"]["resourceVersion"]
    other = {**spec, "versions": [{**spec["versions"][0], "name": "v2"}], "padding": "x" * 200_000}
    changed = await client.put(
        f"{url}/carts.{GROUP}",
        json={"metadata": {"name": f"carts.{GROUP}", "resourceVersion": version}, "spec": other},
    )
    assert changed.status == 503
    assert (GROUP, "v1", "carts") in registry.kinds
    assert (GROUP, "v2", "carts") not in registry.kinds
