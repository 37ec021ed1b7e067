"""Which templates did a StatefulSet or DaemonSet have? ControllerRevisions, by which kubectl shows and undoes rollouts.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/controller-revision-v1/
"""

from __future__ import annotations

from skiff.api import Object
from skiff.controllers.cluster import Cluster
from skiff.controllers.deployment import template_hash
from skiff.controllers.pods import owner_reference
from skiff.errors import ApiError
from skiff.kinds import CONTROLLER_REVISIONS, PODS, Kind
from skiff.objects import copied

#: The label of pods and revisions which says by which template they were made.
LABEL = "controller-revision-hash"
_CAUSE = "kubernetes.io/change-cause"


def name_of(owner: Object) -> str:
    """What the revision of the present template is called."""
    return f"{owner['metadata']['name']}-{template_hash(owner)}"


async def keep(cluster: Cluster, kind: Kind, owner: Object, mark: str) -> None:
    """Note the present template as the newest one, and forget the oldest that no pod has. ``mark`` is the label's value."""
    held = cluster.informers[CONTROLLER_REVISIONS].owned(owner)
    newest = max((it["revision"] for it in held), default=0)
    mine = next((it for it in held if it["metadata"]["name"] == name_of(owner)), None)
    if mine is None:
        await _create(cluster, kind, owner, mark, newest + 1)
    elif mine["revision"] < newest:  # back to an earlier one
        await cluster.patch(CONTROLLER_REVISIONS, mine, {"revision": newest + 1})
    pods = cluster.informers[PODS].owned(owner)
    used = {mark, *((it["metadata"].get("labels") or {}).get(LABEL) for it in pods)}
    idle = sorted(
        (it for it in held if (it["metadata"].get("labels") or {}).get(LABEL) not in used), key=lambda it: int(it["revision"])
    )  # fmt: skip
    for it in idle[: max(0, len(idle) - int(owner["spec"].get("revisionHistoryLimit", 10)))]:
        await cluster.delete(CONTROLLER_REVISIONS, it)


async def _create(cluster: Cluster, kind: Kind, owner: Object, mark: str, number: int) -> None:
    template = copied(owner["spec"].get("template") or {})
    cause = (owner["metadata"].get("annotations") or {}).get(_CAUSE)
    made: Object = {
        "apiVersion": CONTROLLER_REVISIONS.api_version, "kind": CONTROLLER_REVISIONS.kind,
        "metadata": {
            "name": name_of(owner), "namespace": owner["metadata"]["namespace"],
            "labels": {**((template.get("metadata") or {}).get("labels") or {}), LABEL: mark},
            "annotations": {_CAUSE: cause} if cause else {}, "ownerReferences": [owner_reference(kind, owner)],
        },
        "revision": number, "data": {"spec": {"template": {**template, "$patch": "replace"}}},
    }  # fmt: skip
    try:
        await cluster.create(CONTROLLER_REVISIONS, made)
    except ApiError as refused:
        if refused.reason != "AlreadyExists":  # the cache has not heard of it yet
            raise
