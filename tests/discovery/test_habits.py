"""Following a server with a real one's habits: however often it forgets and breaks off, in the end we know what there is."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from lateen.api.core import Service
from lateen.api.crds import manifests
from lateen.api.decode import decode
from lateen.api.networking import VirtualService
from lateen.discovery.source import Source
from lateen.incremental import Change
from lateen.kube import watch
from lateen.names.keys import ObjectKey
from lateen.testing.ads import until

SEEDS = (1, 2, 3)


@pytest.fixture(params=SEEDS)
def habits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(watch, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(watch, "_LONGEST_WAIT_S", 0.2)
    return {"seed": request.param}


def service(name: str, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": [{"name": "http", "port": port}]},
    }  # fmt: skip


def rule(name: str, weight: int) -> dict[str, Any]:
    route = [
        {"destination": {"host": "a"}, "weight": weight},
        {"destination": {"host": "b"}, "weight": 100 - weight},
    ]
    return {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name, "namespace": "default"},
        "spec": {"hosts": [name], "http": [{"route": route}]},
    }  # fmt: skip


class Known:
    """What a control plane would believe."""

    def __init__(self) -> None:
        self.facts: dict[tuple[Any, Any], Any] = {}

    def put(self, changes: Any) -> None:
        for it in changes:
            assert isinstance(it, Change)
            self.facts.pop((it.table, it.key), None)
            if it.value is not None:
                self.facts[it.table, it.key] = it.value

    def of(self, table: type[Any]) -> dict[Any, Any]:
        return {key: value for (kind, key), value in self.facts.items() if kind is table}


def stored(api_server: Any, plural: str) -> dict[ObjectKey, Any]:
    """What there is."""
    kind = api_server.registry.kinds
    found = next(it for it in kind.values() if it.plural == plural)
    api_version = f"{found.group}/v1" if found.group else "v1"
    objects = [
        {"apiVersion": api_version, "kind": found.kind, **it} for it in api_server.store.all(found.storage)
    ]
    facts = [decode(it) for it in objects]
    return {it.key: it for it in facts}  # type: ignore[union-attr]


@pytest.mark.finding("real kubernetes 1")
async def test_in_the_end_everything_is_known(api_server: Any) -> None:
    known, chance = Known(), random.Random(4)
    async with api_server.client() as admin, api_server.client() as client:
        for it in manifests():
            await admin.create(it)
        source = Source(client, known.put, namespace="istio-system", config_map="istio")
        task = asyncio.ensure_future(source.run())
        try:
            async with asyncio.timeout(60):
                await source.synced()
            for number in range(120):
                make = chance.choice([service, rule])
                obj = make(f"x{chance.randrange(6)}", chance.randrange(1, 100))
                if chance.random() < 0.3:
                    await admin.delete(obj)
                else:
                    await admin.apply(obj, "test")
                if number % 30 == 0:
                    await asyncio.sleep(0.3)

            def agreed() -> bool:
                services = known.of(Service) == stored(api_server, "services")
                return services and known.of(VirtualService) == stored(api_server, "virtualservices")

            await until(agreed)
            assert len(known.of(Service)) + len(known.of(VirtualService)) > 3
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert {"overloaded", "failed", "reset_before", "cut", "bookmark"} <= set(api_server.habits.happened)
