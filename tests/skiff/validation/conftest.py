"""How are the rules tried? By the registry that serves requests, with the real schemas and defaults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from skiff.apiserver.allocation import Addresses
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError
from skiff.kinds import NAMESPACES, Kind
from skiff.schema.pack import Schemas, load
from skiff.store.store import Store

#: What is wrong: (field, message) for each cause; empty when an object is taken.
Refused = list[tuple[str, str]]


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Schemas:
    return Schemas(load(tmp_path_factory.mktemp("pack") / "schemas.json.gz"))


@pytest.fixture
async def registry(schemas: Schemas) -> Any:
    made = Registry(Store(), schemas=schemas, addresses=Addresses("10.96.0.0/16"))
    for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        await made.create(NAMESPACES, "", {"metadata": {"name": name}})
    yield made
    made.store.close()


async def refused(work: Awaitable[Any]) -> Refused:
    try:
        await work
    except ApiError as found:
        causes = (found.details or {}).get("causes") or [{"field": "", "message": found.message}]
        return [(it["field"], it["message"]) for it in causes]
    return []


@pytest.fixture
def made(registry: Registry) -> Callable[[Kind, dict[str, Any]], Awaitable[Refused]]:
    """Try to make an object, as ``--dry-run=server`` does."""

    async def make(kind: Kind, obj: dict[str, Any]) -> Refused:
        return await refused(registry.create(kind, "default" if kind.namespaced else "", obj, dry_run=True))

    return make


@pytest.fixture
def changed(registry: Registry) -> Callable[[Kind, dict[str, Any], dict[str, Any]], Awaitable[Refused]]:
    """Make an object, and try to replace it."""

    async def change(kind: Kind, old: dict[str, Any], new: dict[str, Any]) -> Refused:
        namespace = "default" if kind.namespaced else ""
        name = old["metadata"]["name"]
        await registry.create(kind, namespace, old)
        return await refused(registry.update(kind, namespace, name, new))

    return change
