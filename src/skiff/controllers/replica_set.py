"""Are there as many pods as the ReplicaSet, or the ReplicationController, wants?"""

from __future__ import annotations

from skiff import objects
from skiff.api import Object
from skiff.controllers import pods as pod_questions
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.kinds import PODS, REPLICA_SETS, Kind
from skiff.objects import controller_of, now, stamp


def controller(cluster: Cluster) -> Controller:
    """ReplicaSets, woken by themselves and by their pods; an orphan pod wakes those that might adopt it."""
    return controller_of_kind(cluster, REPLICA_SETS)


def controller_of_kind(cluster: Cluster, kind: Kind) -> Controller:
    """The same for a kind that has replicas, a selector and a template."""

    async def reconcile(key: Key) -> float | None:
        found = cluster.informers[kind].get(*key)
        return None if found is None else await _reconcile(cluster, kind, found)

    it = Controller(kind.kind.lower(), reconcile)
    it.follow(cluster, kind)
    it.follow_owned(cluster, PODS, kind)

    def orphan(_: Object | None, pod: Object | None) -> None:
        if pod is None or controller_of(pod) is not None or not pod["metadata"].get("labels"):
            return
        for owner in cluster.informers[kind].namespace(pod["metadata"].get("namespace", "")):
            if objects.matches(objects.selector_of(owner), pod["metadata"]["labels"]):
                it.queue.add((owner["metadata"]["namespace"], owner["metadata"]["name"]))

    cluster.informers[PODS].listen(orphan)
    return it


async def _reconcile(cluster: Cluster, kind: Kind, owner: Object) -> float | None:
    pods = await pod_questions.claimed(cluster, kind, owner)
    living = [it for it in pods if objects.active(it)]
    wanted = int(owner["spec"].get("replicas", 1))
    failure: Exception | None = None
    if not owner["metadata"].get("deletionTimestamp"):
        try:
            await _scale(cluster, kind, owner, living, wanted)
        except Exception as error:  # noqa: BLE001 - told in the status below, then raised again
            failure = error
    again = await _tell(cluster, kind, owner, failure)
    if failure is not None:
        raise failure
    return again


async def _scale(cluster: Cluster, kind: Kind, owner: Object, living: list[Object], wanted: int) -> None:
    missing = wanted - len(living)
    if missing > 0:
        template = owner["spec"].get("template") or {}
        new = [pod_questions.pod_of(kind, owner, template) for _ in range(missing)]
        await pod_questions.create_pods(cluster, owner, new, source_of(kind))
    elif missing < 0:
        leaving = pod_questions.dismissal_order(living)[:-missing]
        await pod_questions.delete_pods(cluster, owner, leaving, source_of(kind))


async def _tell(cluster: Cluster, kind: Kind, owner: Object, failure: Exception | None) -> float | None:
    living = [it for it in cluster.informers[PODS].owned(owner) if objects.active(it)]
    labels = ((owner["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    moment = now()
    waits = [
        pod_questions.available_in(it, int(owner["spec"].get("minReadySeconds", 0)), moment) for it in living
    ]
    conditions = [
        it for it in (owner.get("status") or {}).get("conditions") or () if it.get("type") != "ReplicaFailure"
    ]
    if failure is not None:
        held = objects.condition(owner, "ReplicaFailure")
        conditions.append(
            {
                "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                # The first reason stays: each try has a name of its own in it, and a change of ours would wake us at once.
                "message": held["message"] if held else str(failure),
                "lastTransitionTime": held["lastTransitionTime"] if held else stamp(moment),
            }
        )  # fmt: skip
    status = {
        "replicas": len(living),
        "fullyLabeledReplicas": sum(
            labels.items() <= (it["metadata"].get("labels") or {}).items() for it in living
        ),
        "readyReplicas": sum(it is not None for it in waits),
        "availableReplicas": sum(it == 0.0 for it in waits),
        "observedGeneration": owner["metadata"].get("generation", 1),
    }
    if conditions or (owner.get("status") or {}).get("conditions"):
        status["conditions"] = conditions
    await cluster.status(kind, owner, status)
    later = [it for it in waits if it]
    return min(later) + 0.05 if later else None


def source_of(kind: Kind) -> str:
    """Who tells the events."""
    return "replicaset-controller" if kind is REPLICA_SETS else "replication-controller"
