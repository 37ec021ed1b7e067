"""What Kubernetes takes is taken here, too: one object of each kind, our own manifests, and nothing changed is no change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from good_objects import GOOD, with_

from lateen.install import manifests, values
from skiff import kinds
from skiff.apiserver.registry import Registry
from skiff.kinds import NAMESPACES, Kind

EXAMPLES = sorted(Path("examples").rglob("*.yaml"))


@pytest.mark.parametrize("kind", GOOD, ids=str)
async def test_an_object_of_each_kind(made: Any, changed: Any, kind: Kind) -> None:
    assert await made(kind, GOOD[kind]) == []
    assert await changed(kind, GOOD[kind], GOOD[kind]) == []


async def test_our_own_manifests(registry: Registry) -> None:
    objects = [
        it
        for name in values.PROFILES
        for one in manifests.components(values.installation(name))
        for it in one.objects
    ]
    objects += [it for path in EXAMPLES for it in yaml.safe_load_all(path.read_text()) if it]
    assert len(objects) > 50
    for it in objects:
        group, _, version = it["apiVersion"].rpartition("/")
        kind = next(
            (
                one
                for one in kinds.BUILT_IN
                if (one.group, one.version, one.kind) == (group, version, it["kind"])
            ),
            None,
        )
        if kind in (None, NAMESPACES):
            continue  # Istio's own
        namespace = it["metadata"].get("namespace", "default") if kind.namespaced else ""
        if namespace and not registry.store.get(NAMESPACES.storage, "", namespace):
            await registry.create(NAMESPACES, "", {"metadata": {"name": namespace}})
        await registry.create(kind, namespace, it, dry_run=True)


async def test_what_was_stored_wrong_blocks_nothing_else(registry: Registry) -> None:
    """Objects from before a rule: their labels, finalizers and other fields may change."""
    old = with_(kinds.DEPLOYMENTS, spec__replicas=-1)
    stored = registry.store.put(kinds.DEPLOYMENTS.storage, {**old, "apiVersion": "apps/v1", "kind": "Deployment",
                                                            "metadata": {"name": "good", "namespace": "default", "uid": "u", "generation": 1}})  # fmt: skip
    labelled = {
        **stored,
        "metadata": {**stored["metadata"], "labels": {"a": "b"}, "finalizers": ["example.com/a"]},
    }
    one = await registry.update(kinds.DEPLOYMENTS, "default", "good", labelled)
    paused = await registry.update(
        kinds.DEPLOYMENTS, "default", "good", {**one, "spec": {**one["spec"], "paused": True}}
    )
    assert paused["spec"]["paused"]
    status = await registry.update(
        kinds.DEPLOYMENTS, "default", "good", {**paused, "status": {"replicas": 0}}, subresource="status"
    )
    assert status["status"] == {"replicas": 0}
