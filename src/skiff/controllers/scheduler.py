"""Where does a pod run? There is one node, so the question is only when."""

from __future__ import annotations

from skiff.api import Object
from skiff.controllers import placement
from skiff.controllers import pods as pod_questions
from skiff.controllers.cluster import Cluster, Controller, now, stamp
from skiff.controllers.informer import key_of
from skiff.controllers.queue import Key
from skiff.kinds import NODES, PODS

_SOURCE = "default-scheduler"


def controller(cluster: Cluster) -> Controller:
    """Pods without a node; a change of the node, and the end of a pod, wake all of them."""

    async def reconcile(key: Key) -> float | None:
        return await _reconcile(cluster, key)

    it = Controller("scheduler", reconcile)

    def pod_changed(_: Object | None, pod: Object | None) -> None:
        if pod is not None and _waits(pod):
            it.queue.add(key_of(pod))

    def node_changed(_: Object | None, node: Object | None) -> None:
        if node is not None and _usable(node):
            wake()

    def wake() -> None:
        for pod in cluster.informers[PODS].objects.values():
            if _waits(pod):
                it.queue.add(key_of(pod))

    def pod_left(old: Object | None, new: Object | None) -> None:
        if old is not None and old["spec"].get("nodeName") and (new is None or pod_questions.finished(new)):
            wake()

    cluster.informers[PODS].listen(pod_changed)
    cluster.informers[PODS].listen(pod_left)
    cluster.informers[NODES].listen(node_changed)
    return it


def _waits(pod: Object) -> bool:
    spec = pod.get("spec") or {}
    named = spec.get("schedulerName", "default-scheduler") == "default-scheduler"
    return (
        not spec.get("nodeName") and not spec.get("schedulingGates") and named and pod_questions.active(pod)
    )


def _usable(node: Object) -> bool:
    return pod_questions.ready(node)


async def _reconcile(cluster: Cluster, key: Key) -> float | None:
    pod = cluster.informers[PODS].get(*key)
    if pod is None or not _waits(pod):
        return None
    node = cluster.informers[NODES].get("", cluster.settings.node_name)
    if node is None or not _usable(node):
        why = ["node(s) were not ready"]
    else:
        why = placement.obstacles(pod, node)
        if not why and cluster.settings.bounded:
            why = placement.shortages(pod, _placed(cluster), node)
    if why:
        await _pending(cluster, pod, "0/1 nodes are available: " + ", ".join(f"1 {it}" for it in why) + ".")
        return None
    name = cluster.settings.node_name
    bound = await cluster.patch(PODS, pod, {"spec": {"nodeName": name}})
    await _condition(cluster, bound, {"type": "PodScheduled", "status": "True"})
    full = "/".join(key)
    await cluster.event(pod, "Normal", "Scheduled", f"Successfully assigned {full} to {name}", _SOURCE)
    return None


def _placed(cluster: Cluster) -> list[Object]:
    every = cluster.informers[PODS].objects.values()
    return [it for it in every if it["spec"].get("nodeName") and not pod_questions.finished(it)]


async def _pending(cluster: Cluster, pod: Object, why: str) -> None:
    held = pod_questions.condition(pod, "PodScheduled")
    if held is not None and held.get("message") == why:
        return
    told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
    await _condition(cluster, pod, told)
    await cluster.event(pod, "Warning", "FailedScheduling", why, _SOURCE)


async def _condition(cluster: Cluster, pod: Object, told: Object) -> None:
    fresh = await cluster.api.get(PODS, *key_of(pod))  # the node may have written its own conditions since
    others = [
        it for it in (fresh.get("status") or {}).get("conditions") or () if it.get("type") != "PodScheduled"
    ]
    conditions = [*others, {**told, "lastTransitionTime": stamp(now())}]
    await cluster.patch(PODS, fresh, {"status": {"conditions": conditions}}, subresource="status")
