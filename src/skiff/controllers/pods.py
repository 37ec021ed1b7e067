"""How are pods made from a template, and what does a pod's status say to the controller that made it?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from skiff.api import Object
from skiff.controllers.cluster import Cluster
from skiff.errors import ApiError
from skiff.kinds import PODS, Kind
from skiff.objects import (
    active,
    condition,
    controller_of,
    copied,
    key_of,
    matches,
    parsed,
    ready,
    selector_of,
)

#: At most so many pods are created or deleted in one look; the next look goes on.
BURST = 50
#: So often a condition is written anew when somebody was quicker.
_TRIES = 6


def owner_reference(kind: Kind, owner: Object) -> Object:
    """The reference of a controller to what it manages."""
    return {
        "apiVersion": kind.api_version, "kind": kind.kind, "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def pod_of(kind: Kind, owner: Object, template: Object, *, labels: dict[str, str] | None = None) -> Object:
    """A pod by the template, with a generated name."""
    meta = template.get("metadata") or {}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": f"{owner['metadata']['name']}-",
            "namespace": owner["metadata"]["namespace"],
            "labels": {**(meta.get("labels") or {}), **(labels or {})},
            "annotations": dict(meta.get("annotations") or {}),
            **({"finalizers": list(meta["finalizers"])} if meta.get("finalizers") else {}),
            "ownerReferences": [owner_reference(kind, owner)],
        },
        "spec": copied(template.get("spec") or {}),
    }  # fmt: skip


async def tell(cluster: Cluster, pod: Object, told: Object) -> None:
    """Set a condition of the pod, and lose none that the node writes meanwhile."""
    for attempt in range(_TRIES):
        fresh = await cluster.api.get(PODS, *key_of(pod))
        held = (fresh.get("status") or {}).get("conditions") or ()
        conditions = [*(it for it in held if it.get("type") != told["type"]), told]
        version = {"resourceVersion": fresh["metadata"]["resourceVersion"]}
        try:
            patch = {"metadata": version, "status": {"conditions": conditions}}
            await cluster.patch(PODS, fresh, patch, subresource="status")
            return
        except ApiError as refused:
            if refused.code != 409 or attempt == _TRIES - 1:
                raise
            await asyncio.sleep(0.02 * 2**attempt)


def available_in(pod: Object, min_ready_s: int, now: datetime) -> float | None:
    """Seconds until a ready pod counts as available: 0 when it does, None when it is not ready."""
    found = condition(pod, "Ready")
    if found is None or found.get("status") != "True":
        return None
    since = parsed(found.get("lastTransitionTime"))
    if not min_ready_s or since is None:
        return 0.0
    return max(0.0, min_ready_s - (now - since).total_seconds())


def dismissal_order(pods: Iterable[Object]) -> list[Object]:
    """Who goes first when there are too many: the unscheduled, the pending, the unready, the young."""

    def rank(pod: Object) -> tuple[Any, ...]:
        phase = (pod.get("status") or {}).get("phase", "")
        cost = (pod["metadata"].get("annotations") or {}).get(
            "controller.kubernetes.io/pod-deletion-cost", "0"
        )
        born = parsed(pod["metadata"].get("creationTimestamp"))
        return (
            bool((pod.get("spec") or {}).get("nodeName")), {"Pending": 0, "": 0}.get(phase, 2), ready(pod),
            int(cost) if cost.lstrip("-").isdigit() else 0, -(born.timestamp() if born else 0.0), pod["metadata"]["name"],
        )  # fmt: skip

    return sorted(pods, key=rank)


async def claimed(cluster: Cluster, kind: Kind, owner: Object) -> list[Object]:
    """The owner's pods. Orphans its selector matches are adopted, own ones it no longer matches let go."""
    selector = selector_of(owner)
    uid = owner["metadata"]["uid"]
    mine: list[Object] = []
    for pod in cluster.informers[PODS].namespace(owner["metadata"]["namespace"]):
        fits = matches(selector, pod["metadata"].get("labels"))
        holder = controller_of(pod)
        if holder is not None and holder.get("uid") == uid:
            if fits:
                mine.append(pod)
            elif not pod["metadata"].get("deletionTimestamp"):
                others = [it for it in pod["metadata"]["ownerReferences"] if it.get("uid") != uid]
                await cluster.patch(PODS, pod, {"metadata": {"ownerReferences": others or None}})
        elif holder is None and fits and active(pod) and await may_adopt(cluster, kind, owner):
            others = pod["metadata"].get("ownerReferences") or []
            reference = owner_reference(kind, owner)
            mine.append(
                await cluster.patch(PODS, pod, {"metadata": {"ownerReferences": [*others, reference]}})
            )
    return mine


async def may_adopt(cluster: Cluster, kind: Kind, owner: Object) -> bool:
    """Whether it is there to stay. The cache may not have heard yet that it lets go what it owns."""
    if owner["metadata"].get("deletionTimestamp"):
        return False
    try:
        fresh = await cluster.api.get(kind, *key_of(owner))
    except ApiError as gone:
        if gone.code == 404:
            return False
        raise
    same = fresh["metadata"].get("uid") == owner["metadata"]["uid"]
    return same and not fresh["metadata"].get("deletionTimestamp")


async def create_pods(cluster: Cluster, owner: Object, pods: Sequence[Object], source: str) -> None:
    """Create them, with an event each. The first refusal ends it and is raised after its event was recorded."""
    for pod in pods[:BURST]:
        try:
            made = await cluster.create(PODS, pod)
        except Exception as error:
            await cluster.event(owner, "Warning", "FailedCreate", f"Error creating: {error}", source)
            raise
        await cluster.event(
            owner, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}", source
        )
        await asyncio.sleep(0)


async def delete_pods(cluster: Cluster, owner: Object, pods: Sequence[Object], source: str) -> None:
    """Delete them, with an event each."""
    for pod in pods[:BURST]:
        await cluster.delete(PODS, pod)
        await cluster.event(
            owner, "Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}", source
        )
