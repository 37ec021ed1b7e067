"""Following a real API server through what happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from lateen.kube.client import KubeError
from lateen.kube.watch import Ears, Followed, follow
from skiff.store.history import History

MAPS = Followed("v1", "configmaps", "default")


class Heard:
    """What a follower was told, and what it would believe now."""

    def __init__(self) -> None:
        self.lists = 0
        self.now: dict[str, Any] = {}
        self.events: list[str] = []
        self.refused: list[int] = []
        self.ears = Ears(self._listed, self._changed, self._refused)

    def _listed(self, objects: list[dict[str, Any]]) -> None:
        self.lists += 1
        self.now = {it["metadata"]["name"]: it.get("data") for it in objects}

    def _changed(self, kind: str, obj: dict[str, Any]) -> None:
        name = obj["metadata"]["name"]
        self.events.append(f"{kind} {name}")
        self.now.pop(name, None)
        if kind != "DELETED":
            self.now[name] = obj.get("data")

    def _refused(self, refused: KubeError) -> None:
        self.refused.append(refused.code)


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not met():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def following(
    api_server: Any, what: Followed = MAPS, account: str = ""
) -> AsyncIterator[tuple[Heard, Any]]:
    heard = Heard()
    async with api_server.client() as admin, api_server.client(account) as client:
        task = asyncio.ensure_future(follow(client, what, heard.ears))
        try:
            yield heard, admin
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    }


async def test_all_is_told_once_and_then_every_change(api_server: Any) -> None:
    async with api_server.client() as admin:
        await admin.create(config_map("a", k="1"))
    async with following(api_server) as (heard, admin):
        await until(lambda: heard.lists == 1)
        await admin.create(config_map("b"))
        await admin.patch(config_map("a"), {"data": {"k": "2"}})
        await admin.delete(config_map("b"))
        await until(lambda: heard.events == ["ADDED b", "MODIFIED a", "DELETED b"])
        assert (heard.now, heard.lists) == ({"a": {"k": "2"}}, 1)


async def test_a_killed_server_is_followed_again_and_nothing_is_missed(api_server: Any) -> None:
    async with following(api_server) as (heard, admin):
        await admin.create(config_map("a"))
        await admin.create(config_map("b"))
        await until(lambda: set(heard.now) == {"a", "b"})
        await api_server.stop()
        # What happens while nobody can be heard:
        from skiff.kinds import CONFIG_MAPS

        await api_server.registry.delete(CONFIG_MAPS, "default", "a")
        await api_server.registry.create(CONFIG_MAPS, "default", config_map("c"))
        await api_server.start()
        await until(lambda: set(heard.now) == {"b", "c"})
        await admin.create(config_map("d"))
        await until(lambda: set(heard.now) == {"b", "c", "d"})


async def test_a_lost_history_is_listed_again(api_server: Any) -> None:
    async with following(api_server) as (heard, admin):
        await until(lambda: heard.lists == 1)
        api_server.store._history.stop()  # the server ends the watch ...
        api_server.store._history = History(
            api_server.store.revision + 1
        )  # ... and has forgotten what was before
        await admin.create(config_map("a"))
        await until(lambda: set(heard.now) == {"a"})
        await admin.create(config_map("b"))
        await until(lambda: set(heard.now) == {"a", "b"})


async def test_a_selector_chooses(api_server: Any) -> None:
    chosen = Followed("v1", "configmaps", query={"fieldSelector": "metadata.name=a"})
    async with following(api_server, chosen) as (heard, admin):
        await until(lambda: heard.lists == 1)
        await admin.create(config_map("b"))
        await admin.create(config_map("a"))
        await until(lambda: heard.events == ["ADDED a"])


async def test_a_kind_that_appears_later_is_followed_from_then_on(api_server: Any) -> None:
    from lateen.api.crds import manifests

    services = Followed("networking.istio.io/v1", "virtualservices")
    async with following(api_server, services) as (heard, admin):
        await until(lambda: bool(heard.refused))
        assert set(heard.refused) == {404}
        for it in manifests():
            if it["spec"]["names"]["plural"] == "virtualservices":
                await admin.create(it)
        await until(lambda: heard.lists == 1)


async def test_what_may_not_be_read_is_told_and_tried_again(api_server: Any) -> None:
    async with following(api_server, account="default/nobody") as (heard, admin):
        await until(lambda: heard.refused[:1] == [403])
        rights = "rbac.authorization.k8s.io"
        await admin.create({
            "apiVersion": f"{rights}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "nobody"},
            "roleRef": {"apiGroup": rights, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": "nobody"}],
        })  # fmt: skip
        await until(lambda: heard.lists == 1)
