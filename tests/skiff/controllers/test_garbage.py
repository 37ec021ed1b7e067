"""Does garbage collection delete what has no owner any more, and never what somebody may still own?"""

from __future__ import annotations

from pathlib import Path

import pytest
from plane import Plane, template

from skiff.api import Object
from skiff.controllers import pod_garbage
from skiff.kinds import CLUSTER_ROLES, CONFIG_MAPS, JOBS, NAMESPACES, PODS

pytestmark = pytest.mark.finding("issue 7 part 5")


def by(owner: Object, **more: object) -> Object:
    metadata = owner["metadata"]
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"], **more}


async def test_owners_that_are_elsewhere_or_nowhere(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.make(NAMESPACES, "other")
        far = await it.make(CONFIG_MAPS, "owner", "other")
        near = await it.make(CONFIG_MAPS, "near")
        unknown = {"apiVersion": "example.com/v1", "kind": "Thing", "name": "x", "uid": "1"}
        # Of the whole cluster, by an owner in a namespace: nobody can say which one, so it stays.
        await it.make(CLUSTER_ROLES, "role", ownerReferences=[by(far)], rules=[])
        await it.make(CONFIG_MAPS, "unknown", ownerReferences=[unknown])
        await it.make(CONFIG_MAPS, "both", ownerReferences=[by(far), by(near)])
        # Owners live in the namespace of what they own.
        await it.make(CONFIG_MAPS, "across", ownerReferences=[by(far)])
        # A namesake of the owner is another object.
        await it.make(CONFIG_MAPS, "namesake", ownerReferences=[{**by(near), "uid": "somebody else's"}])
        await it.until(
            lambda: not it.get(CONFIG_MAPS, "across") and not it.get(CONFIG_MAPS, "namesake"), "both go"
        )
        await it.until(
            lambda: len((it.get(CONFIG_MAPS, "both") or {})["metadata"]["ownerReferences"]) == 1,
            "one is forgotten",
        )
        await it.until(lambda: it.events("OwnerRefInvalidNamespace"), "told")
        assert it.get(CLUSTER_ROLES, "role")
        assert it.get(CONFIG_MAPS, "unknown")


async def test_foreground_waits_orphan_lets_go_and_a_circle_ends(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        owner = await it.make(CONFIG_MAPS, "owner")
        await it.make(CONFIG_MAPS, "child", ownerReferences=[by(owner, blockOwnerDeletion=True)])
        held = {"metadata": {"finalizers": ["example.com/wait"]}}
        await it.api.patch(CONFIG_MAPS, "default", "child", held)
        await it.api.delete(CONFIG_MAPS, "default", "owner", propagation="Foreground")
        await it.until(
            lambda: (it.get(CONFIG_MAPS, "child") or {})["metadata"].get("deletionTimestamp"), "asked to go"
        )
        assert it.get(CONFIG_MAPS, "owner")
        await it.api.patch(CONFIG_MAPS, "default", "child", {"metadata": {"finalizers": None}})
        await it.until(lambda: not it.get(CONFIG_MAPS, "owner"), "after its child")

        owner = await it.make(CONFIG_MAPS, "owner")
        await it.make(CONFIG_MAPS, "child", ownerReferences=[by(owner)])
        await it.api.delete(CONFIG_MAPS, "default", "owner", propagation="Orphan")
        await it.until(lambda: not it.get(CONFIG_MAPS, "owner"), "alone")
        assert not (it.get(CONFIG_MAPS, "child") or {})["metadata"].get("ownerReferences")

        first = await it.make(CONFIG_MAPS, "first")
        second = await it.make(CONFIG_MAPS, "second", ownerReferences=[by(first, blockOwnerDeletion=True)])
        circle = {"metadata": {"ownerReferences": [by(second, blockOwnerDeletion=True)]}}
        await it.api.patch(CONFIG_MAPS, "default", "first", circle)
        await it.api.delete(CONFIG_MAPS, "default", "first", propagation="Foreground")
        await it.until(
            lambda: not it.get(CONFIG_MAPS, "first") and not it.get(CONFIG_MAPS, "second"), "both go"
        )


async def test_the_oldest_of_very_many_that_ended_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_garbage, "MOST", 2)
    monkeypatch.setattr(pod_garbage, "_SOON_S", 0.1)
    async with Plane(tmp_path) as it:
        shape = template("work", restartPolicy="Never")
        await it.make(JOBS, "work", spec={"completions": 5, "parallelism": 1, "template": shape})
        (counted,) = await it.until(lambda: it.all(PODS), "its first pod")
        await it.finish(counted)
        names = ("a", "b", "c", "d")
        for name in names:
            made = await it.make(PODS, name, spec=template(name)["spec"])
            if name != "d":
                await it.finish(made)
        await it.until(
            lambda: not {"a", "b"} & {p["metadata"]["name"] for p in it.all(PODS)}, "the oldest go"
        )
        left = {p["metadata"]["name"] for p in it.all(PODS)}
        assert {"c", "d", counted["metadata"]["name"]} <= left, "a Job that is not over still counts its pods"
