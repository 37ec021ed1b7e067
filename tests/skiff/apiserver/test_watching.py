"""A watch by HTTP: what it begins with, in which version it speaks, and what it does for many changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from skiff.apiserver.custom import CustomKinds
from skiff.apiserver.http import application
from skiff.apiserver.registry import Registry
from skiff.kinds import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES
from skiff.store.store import Store

GROUP = "shop.example.org"


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    it = Registry(Store())
    CustomKinds(it)
    await it.create(NAMESPACES, "", {"metadata": {"name": "n"}})
    yield it
    it.store.close()


async def heard(registry: Registry, path: str, number: int) -> list[dict[str, Any]]:
    async with TestClient(TestServer(application(registry))) as client, client.get(path) as answer:
        assert answer.status == 200
        return [msgspec.json.decode(await answer.content.readline()) for _ in range(number)]


def definition(*versions: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "metadata": {"name": f"carts.{GROUP}"},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": {"plural": "carts", "kind": "Cart"},
            "versions": [
                {"name": it, "served": True, "storage": it == versions[-1], "schema": schema} for it in versions
            ],
        },
    }  # fmt: skip


async def test_every_version_hears_its_own_also_of_objects_whose_version_is_gone(registry: Registry) -> None:
    await registry.create(CUSTOM_RESOURCE_DEFINITIONS, "", definition("v1alpha1", "v1"))
    old = registry.kinds[GROUP, "v1alpha1", "carts"]
    await registry.create(old, "n", {"metadata": {"name": "a"}})
    for version in ("v1alpha1", "v1"):
        events = await heard(registry, f"/apis/{GROUP}/{version}/carts?watch=1", 1)
        assert events[0]["object"]["apiVersion"] == f"{GROUP}/{version}"
    await registry.update(CUSTOM_RESOURCE_DEFINITIONS, "", f"carts.{GROUP}", definition("v1"))
    async with TestClient(TestServer(application(registry))) as client:
        assert (await client.get(f"/apis/{GROUP}/v1alpha1/carts")).status == 404
        listed = await (await client.get(f"/apis/{GROUP}/v1/carts")).json()
        assert [it["apiVersion"] for it in listed["items"]] == [f"{GROUP}/v1"]


async def test_a_list_comes_first_and_ends_with_its_mark(registry: Registry) -> None:
    for number in range(120):
        await registry.create(CONFIG_MAPS, "n", {"metadata": {"name": f"c{number:03}"}})
    path = "/api/v1/configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    events = await heard(registry, path, 121)
    assert [it["object"]["metadata"]["name"] for it in events[:-1]] == [
        f"c{number:03}" for number in range(120)
    ]
    assert events[-1]["type"] == "BOOKMARK"
    assert events[-1]["object"]["metadata"]["resourceVersion"] == str(registry.store.revision)


async def test_changes_since_a_revision_come_in_order_and_end_with_the_time(registry: Registry) -> None:
    since = registry.store.revision
    for number in range(120):
        await registry.create(CONFIG_MAPS, "n", {"metadata": {"name": f"c{number:03}"}})
    await registry.delete(CONFIG_MAPS, "n", "c000")
    path = f"/api/v1/namespaces/n/configmaps?watch=1&resourceVersion={since}&timeoutSeconds=1"
    async with TestClient(TestServer(application(registry))) as client, client.get(path) as answer:
        events = [msgspec.json.decode(it) for it in (await answer.read()).splitlines()]
    assert [it["type"] for it in events] == [*["ADDED"] * 120, "DELETED"]
    async with TestClient(TestServer(application(registry))) as client:
        registry.store._history._oldest = registry.store.committed
        gone = await client.get(f"/api/v1/configmaps?watch=1&resourceVersion={since}")
        assert (gone.status, (await gone.json())["reason"]) == (410, "Expired")
