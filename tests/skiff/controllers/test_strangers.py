"""Can somebody in another namespace meddle by claiming to be owned, or by taking a name that was just given up?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from plane import Plane, template

from skiff.api import Object
from skiff.controllers.cluster import Cluster, ControllerSettings
from skiff.controllers.informer import Informer
from skiff.errors import ApiError
from skiff.kinds import CONFIG_MAPS, CONTROLLER_REVISIONS, NAMESPACES, PODS, STATEFUL_SETS, Kind

pytestmark = pytest.mark.finding("issue 7 redteam")


def claims(kind: Kind, owner: Object) -> dict[str, Any]:
    metadata = owner["metadata"]
    return {
        "apiVersion": kind.api_version, "kind": kind.kind, "name": metadata["name"], "uid": metadata["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def test_what_claims_to_be_owned_elsewhere_is_not_counted() -> None:
    """A rollout would take ready pods of another namespace for its own, and end real ones."""
    pods = Informer(PODS)
    for namespace in ("default", "other"):
        reference = {"uid": "1", "kind": "ReplicaSet", "name": "shop", "controller": True}
        pods.learn(
            {
                "metadata": {
                    "namespace": namespace,
                    "name": "p",
                    "uid": namespace,
                    "ownerReferences": [reference],
                }
            }
        )
    owner = {"metadata": {"namespace": "default", "name": "shop", "uid": "1"}}
    assert [it["metadata"]["namespace"] for it in pods.owned(owner)] == ["default"]
    of_the_cluster = {"metadata": {"name": "shop", "uid": "1"}}
    assert len(pods.owned(of_the_cluster)) == len(pods.naming("1")) == 2


async def test_strangers_hold_up_no_deletion(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.make(NAMESPACES, "other")
        owner = await it.make(CONFIG_MAPS, "owner")
        await it.make(CONFIG_MAPS, "strange", "other", ownerReferences=[claims(CONFIG_MAPS, owner)])
        held = {"metadata": {"finalizers": ["example.com/wait"]}}
        await it.api.patch(CONFIG_MAPS, "other", "strange", held)
        await it.api.delete(CONFIG_MAPS, "default", "owner", propagation="Foreground")
        await it.until(lambda: not it.get(CONFIG_MAPS, "owner"), "it goes")


async def test_a_namesake_gets_nothing_that_was_meant_for_another(tmp_path: Path) -> None:
    """A controller writes to the object that it looked at. Once, a new claim could be told Bound in the place of an old one."""
    async with Plane(tmp_path) as it:
        cluster = Cluster(it.api, ControllerSettings("skiff", ""))
        old = await it.make(CONFIG_MAPS, "it")
        await it.api.delete(CONFIG_MAPS, "default", "it")
        await it.make(CONFIG_MAPS, "it")
        with pytest.raises(ApiError) as refused:
            await cluster.patch(CONFIG_MAPS, old, {"data": {"a": "b"}})
        assert refused.value.code == 409
        assert not (it.get(CONFIG_MAPS, "it") or {}).get("data")


async def test_a_history_without_labels_stops_nobody(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.node()
        spec = {
            "replicas": 1,
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": template("db"),
        }
        owner = await it.make(STATEFUL_SETS, "db", spec={**spec, "replicas": 0})
        await it.until(lambda: it.all(CONTROLLER_REVISIONS), "its history")
        reference = [claims(STATEFUL_SETS, owner)]
        await it.make(CONTROLLER_REVISIONS, "odd", ownerReferences=reference, revision=7, data={"a": 1})
        await asyncio.sleep(0)
        await it.api.patch(STATEFUL_SETS, "default", "db", {"spec": {"replicas": 1}})
        await it.until(lambda: it.all(PODS), "its pod")
