"""Which claims of a StatefulSet go with it, or with the pod that is scaled away? Owners, which garbage collection follows.

https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#persistentvolumeclaim-retention
"""

from __future__ import annotations

from skiff.api import Object
from skiff.controllers.cluster import Cluster
from skiff.kinds import PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from skiff.objects import owners_of


async def keep(cluster: Cluster, owner: Object, pods: dict[int, Object], wanted: range) -> None:
    """Write the owners that the policy asks for into the claims; before the pods that should leave are ended."""
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    for number in {*wanted, *pods}:
        pod = pods.get(number)
        for template in owner["spec"].get("volumeClaimTemplates") or ():
            name = f"{template['metadata']['name']}-{owner['metadata']['name']}-{number}"
            claim = cluster.informers[PERSISTENT_VOLUME_CLAIMS].get(owner["metadata"]["namespace"], name)
            if claim is not None:
                await _owned(cluster, owner, claim, policy, pod if number not in wanted else None)


async def _owned(
    cluster: Cluster, owner: Object, claim: Object, policy: Object, leaving: Object | None
) -> None:
    mine = {owner["metadata"]["uid"], *((leaving["metadata"]["uid"],) if leaving else ())}
    kept = [
        it for it in owners_of(claim)
        if it.get("uid") not in mine and not (it.get("kind") == PODS.kind and it.get("name") == _pod_of(claim, owner))
    ]  # fmt: skip
    if policy.get("whenDeleted") == "Delete":
        kept.append(_reference(STATEFUL_SETS.api_version, STATEFUL_SETS.kind, owner))
    if policy.get("whenScaled") == "Delete" and leaving is not None:
        # Only the pod: the claim must not wait for the StatefulSet's end.
        kept = [it for it in kept if it.get("uid") != owner["metadata"]["uid"]]
        kept.append(_reference(PODS.api_version, PODS.kind, leaving))
    if kept != owners_of(claim):
        await cluster.patch(PERSISTENT_VOLUME_CLAIMS, claim, {"metadata": {"ownerReferences": kept or None}})


def _pod_of(claim: Object, owner: Object) -> str:
    """The pod that a claim belongs to: claims are called after it."""
    name, number = owner["metadata"]["name"], claim["metadata"]["name"].rpartition("-")[2]
    return f"{name}-{number}"


def _reference(api: str, kind: str, obj: Object) -> Object:
    return {"apiVersion": api, "kind": kind, "name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]}
