"""Where does a pod run? There is one node, so the question is whether it may, and when."""

from __future__ import annotations

from skiff import objects
from skiff.api import Object
from skiff.controllers import affinity, claims, placement
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.occupancy import Occupancy
from skiff.controllers.queue import Key
from skiff.kinds import NAMESPACES, NODES, PERSISTENT_VOLUME_CLAIMS, PODS, STORAGE_CLASSES
from skiff.objects import key_of, now, stamp

_SOURCE = "default-scheduler"
#: Stands for all pods that wait: however much happens at once, they are looked at once after it.
_ALL: Key = ("", "")
_HOPELESS, _NO_VICTIMS = (
    "Preemption is not helpful for scheduling",
    "No preemption victims found for incoming pod",
)
_UNBOUND = "pod has unbound immediate PersistentVolumeClaims"


def controller(cluster: Cluster) -> Controller:
    """Pods without a node; what may make room for them, or what they wait for, wakes all of them."""
    there = Occupancy()

    async def reconcile(key: Key) -> float | None:
        if key == _ALL:
            for pod in cluster.informers[PODS].objects.values():
                if _waits(pod):
                    it.queue.add(key_of(pod))
            return None
        await _reconcile(cluster, there, key)
        return None

    # One worker: two pods that want the same place are looked at one after the other.
    it = Controller("scheduler", reconcile, workers=1)

    def pod_changed(old: Object | None, pod: Object | None) -> None:
        there.changed(old, pod)
        if pod is not None and _waits(pod):
            it.queue.add(key_of(pod))
        elif _matters(old) != _matters(pod):
            it.queue.add(_ALL)

    def node_changed(old: Object | None, node: Object | None) -> None:
        if node is not None and (old is None or _seen(old) != _seen(node)):
            it.queue.add(_ALL)

    cluster.informers[PODS].listen(pod_changed)
    cluster.informers[NODES].listen(node_changed)
    for kind in (PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES, NAMESPACES):
        cluster.informers[kind].listen(lambda _old, _new: it.queue.add(_ALL))
    return it


def _matters(pod: Object | None) -> tuple[object, ...] | None:
    """What of a pod on the node those see that wait."""
    if pod is None or not pod["spec"].get("nodeName"):
        return None
    return (pod["metadata"].get("labels"), objects.finished(pod), pod["metadata"]["uid"])


def _seen(node: Object) -> tuple[object, ...]:
    return (placement.described(node), objects.ready(node))


def _waits(pod: Object) -> bool:
    spec = pod.get("spec") or {}
    named = spec.get("schedulerName", "default-scheduler") == "default-scheduler"
    return not spec.get("nodeName") and named and objects.active(pod)


async def _reconcile(cluster: Cluster, there: Occupancy, key: Key) -> None:
    pod = cluster.informers[PODS].get(*key)
    if pod is None or not _waits(pod):
        return
    if pod["spec"].get("schedulingGates"):
        said = "Scheduling is blocked due to non-empty scheduling gates"
        await _unschedulable(cluster, pod, "SchedulingGated", said)
        return
    why = obstacle(cluster, there, pod)
    if why:
        if await _unschedulable(cluster, pod, "Unschedulable", why):
            await cluster.event(pod, "Warning", "FailedScheduling", why, _SOURCE)
        return
    name = cluster.settings.node_name
    bound = await cluster.patch(PODS, pod, {"spec": {"nodeName": name}}, subresource="binding")
    await _condition(cluster, bound, {"type": "PodScheduled", "status": "True"})
    full = "/".join(key)
    await cluster.event(pod, "Normal", "Scheduled", f"Successfully assigned {full} to {name}", _SOURCE)


def obstacle(cluster: Cluster, there: Occupancy, pod: Object) -> str:
    """Why the pod must wait, in the words of kube-scheduler; "" when it need not."""
    if said := _unbound(cluster, pod):
        return f"0/1 nodes are available: {said}. preemption: 0/1 nodes are available: 1 {_HOPELESS}."
    node = cluster.informers[NODES].get("", cluster.settings.node_name)
    if node is None:
        return "no nodes available to schedule pods"
    if not objects.ready(node):
        why, help_ = ["node(s) were not ready"], _HOPELESS
    elif why := placement.obstacles(pod, node)[:1]:  # kube-scheduler, too, asks no further
        help_ = _HOPELESS
    else:
        why, help_ = _crowded(cluster, there, pod, node), _NO_VICTIMS
    if not why:
        return ""
    listed = ", ".join(f"1 {it}" for it in why)
    return f"0/1 nodes are available: {listed}. preemption: 0/1 nodes are available: 1 {help_}."


def _unbound(cluster: Cluster, pod: Object) -> str:
    """What is wrong with its claims. Those that get their volume by themselves, or for this pod, do not count."""
    for name in claims.used(pod):
        claim = cluster.informers[PERSISTENT_VOLUME_CLAIMS].get(pod["metadata"]["namespace"], name)
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if claim["metadata"].get("deletionTimestamp"):
            return f'persistentvolumeclaim "{name}" is being deleted'
        if claims.waits(cluster, claim):
            return _UNBOUND
    return ""


def _crowded(cluster: Cluster, there: Occupancy, pod: Object, node: Object) -> list[str]:
    """What the pods that are there have against it, or it against them."""
    if there.busy(pod):
        return ["node(s) didn't have free ports for the requested pod ports"]
    bounded = cluster.settings.bounded
    if short := placement.shortages(pod, there.asked, len(there.pods), node, bounded=bounded):
        return short
    labels = node["metadata"].get("labels") or {}

    def namespaces(name: str) -> dict[str, str]:
        found = cluster.informers[NAMESPACES].get("", name)
        return (found["metadata"].get("labels") or {}) if found else {}

    if why := _spread(there, pod, labels):
        return [why]
    near = affinity.required(pod, "podAffinity")
    if near and not all(it.topology in labels for it in near):
        return ["node(s) didn't match pod affinity rules"]
    # The first of a group that wants to be together finds nobody, and may begin.
    if near and not there.some(near, namespaces) and not all(it.means(pod, namespaces) for it in near):
        return ["node(s) didn't match pod affinity rules"]
    far = affinity.required(pod, "podAntiAffinity")
    if any(it.topology in labels and there.some([it], namespaces) for it in far):
        return ["node(s) didn't match pod anti-affinity rules"]
    if there.repelled(pod, labels, namespaces):
        return ["node(s) didn't satisfy existing pods anti-affinity rules"]
    return []


def _spread(there: Occupancy, pod: Object, labels: dict[str, str]) -> str:
    """Constraints of topology: one node is one place, so pods are spread evenly unless more places are asked for."""
    for it in pod["spec"].get("topologySpreadConstraints") or ():
        if it.get("whenUnsatisfiable") != "DoNotSchedule":
            continue
        if it.get("topologyKey") not in labels:
            return "node(s) didn't match pod topology spread constraints (missing required label)"
        if (it.get("minDomains") or 1) > 1:
            selector = affinity.filled(pod, it)
            own = objects.matches(selector, pod["metadata"].get("labels"))
            if there.count(pod["metadata"]["namespace"], selector) + own > it.get("maxSkew", 1):
                return "node(s) didn't match pod topology spread constraints"
    return ""


async def _unschedulable(cluster: Cluster, pod: Object, reason: str, why: str) -> bool:
    """Say so in the pod's status; whether that is news."""
    held = objects.condition(pod, "PodScheduled")
    if held is not None and held.get("message") == why:
        return False
    told = {"type": "PodScheduled", "status": "False", "reason": reason, "message": why}
    await _condition(cluster, pod, told)
    return True


async def _condition(cluster: Cluster, pod: Object, told: Object) -> None:
    fresh = await cluster.api.get(PODS, *key_of(pod))  # the node may have written its own conditions since
    others = [
        it for it in (fresh.get("status") or {}).get("conditions") or () if it.get("type") != "PodScheduled"
    ]
    conditions = [*others, {**told, "lastTransitionTime": stamp(now())}]
    await cluster.patch(PODS, fresh, {"status": {"conditions": conditions}}, subresource="status")
