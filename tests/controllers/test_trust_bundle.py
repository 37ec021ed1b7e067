"""The root certificate in every namespace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lateen.controllers.trust_bundle import KEY, NAME, TrustBundle
from lateen.testing.ads import until


@pytest.fixture
async def admin(api_server: Any) -> AsyncIterator[Any]:
    async with api_server.client() as client:
        task = asyncio.ensure_future(TrustBundle(client, lambda: b"root").run())
        yield client
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def held(admin: Any, namespace: str) -> dict[str, str] | None:
    found = await admin.get(f"/api/v1/namespaces/{namespace}/configmaps/{NAME}")
    return found and found.get("data")


async def test_every_namespace_holds_it_except_the_systems_own(admin: Any) -> None:
    async def there() -> bool:
        return await held(admin, "default") == {KEY: "root"} and await held(admin, "istio-system") == {
            KEY: "root"
        }

    await until(there)
    await admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})

    async def new() -> bool:
        return await held(admin, "shop") == {KEY: "root"}

    await until(new)
    assert await held(admin, "kube-system") is None


@pytest.mark.parametrize("data", [{KEY: "forged"}, {KEY: "root", "more": "x"}, {}])
async def test_what_is_changed_is_mended(admin: Any, data: dict[str, str]) -> None:
    async def right() -> bool:
        return await held(admin, "default") == {KEY: "root"}

    await until(right)
    named = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": "default"}}
    changed = await admin.patch(named, {"data": {KEY: None, **data}})
    assert changed.get("data", {}) != {KEY: "root"}
    await until(right)


async def test_what_is_deleted_comes_back(admin: Any) -> None:
    async def there() -> bool:
        return await held(admin, "default") is not None

    await until(there)
    before = await admin.get(f"/api/v1/namespaces/default/configmaps/{NAME}")
    await admin.delete(before)

    async def again() -> bool:
        now = await admin.get(f"/api/v1/namespaces/default/configmaps/{NAME}")
        return now is not None and now["metadata"]["uid"] != before["metadata"]["uid"]

    await until(again)


async def test_two_replicas_agree(api_server: Any, admin: Any) -> None:
    async with api_server.client() as other:
        task = asyncio.ensure_future(TrustBundle(other, lambda: b"root").run())
        for number in range(5):
            await admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"n{number}"}})

        async def everywhere() -> bool:
            return all([await held(admin, f"n{number}") == {KEY: "root"} for number in range(5)])

        await until(everywhere)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
