"""Where does a pod run? There is one node, so the question is whether it may, and when."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from skiff import objects
from skiff.api import Object
from skiff.controllers import affinity, claims, placement, preemption
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.occupancy import Occupancy
from skiff.controllers.pods import tell
from skiff.controllers.queue import Key
from skiff.kinds import NAMESPACES, NODES, PERSISTENT_VOLUME_CLAIMS, PODS, STORAGE_CLASSES
from skiff.objects import controller_of, key_of, now, stamp

_SOURCE = "default-scheduler"
#: Stands for all pods that wait: however much happens at once, they are looked at once after it.
_ALL: Key = ("", "")
_HOPELESS, _NO_VICTIMS = (
    "0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    "0/1 nodes are available: 1 No preemption victims found for incoming pod.",
)
_ONE_POD = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
_UNBOUND = "pod has unbound immediate PersistentVolumeClaims"


class Obstacle(NamedTuple):
    """Why a pod must wait, and what becomes of others that are in its way."""

    why: str
    hope: str  # why nobody leaves
    victims: list[Object]

    def __str__(self) -> str:
        return self.why if self.victims or not self.hope else f"{self.why} preemption: {self.hope}"


@dataclass(slots=True)
class _State:
    """What is on the node, and for whom room is made there."""

    there: Occupancy = field(default_factory=Occupancy)
    nominated: dict[Key, Object] = field(default_factory=dict)
    # As things are: controllers whose pods nobody's leaving helps, and what those below a priority ask for.
    hopeless: set[str] = field(default_factory=set)
    below: dict[int, tuple[Counter[str], int]] = field(default_factory=dict)

    def changed(self, old: Object | None, new: Object | None) -> None:
        """A listener of the informer of pods."""
        self.there.changed(old, new)
        if _matters(old) != _matters(new):
            self.hopeless.clear()
            self.below.clear()
        for pod in filter(None, (old, new)):
            self.nominated.pop(key_of(pod), None)
        if new is not None and _waits(new) and (new.get("status") or {}).get("nominatedNodeName"):
            self.nominated[key_of(new)] = new

    def without(self, pod: Object) -> tuple[Counter[str], int]:
        """The same when all that are less important have left."""
        mine = preemption.priority(pod)
        if mine not in self.below:
            lower = [it for it in self.there.pods.values() if preemption.priority(it) < mine]
            total: Counter[str] = Counter()
            for it in lower:
                total.update(placement.requests(it))
            self.below[mine] = (total, len(lower))
        asked, count = self.asked(pod)
        total, number = self.below[mine]
        return asked - total, count - number

    def asked(self, pod: Object) -> tuple[Counter[str], int]:
        """(what is asked for, by how many pods): of those that are there, and of whom room is made for before this one."""
        asked, count = self.there.asked, len(self.there.pods)
        mine = preemption.priority(pod)
        for it in self.nominated.values():
            if preemption.priority(it) >= mine and key_of(it) != key_of(pod):
                asked, count = asked + Counter(placement.requests(it)), count + 1
        return asked, count


def controller(cluster: Cluster) -> Controller:
    """Pods without a node; what may make room for them, or what they wait for, wakes all of them."""
    state = _State()

    async def reconcile(key: Key) -> float | None:
        if key == _ALL:
            waiting = [pod for pod in cluster.informers[PODS].objects.values() if _waits(pod)]
            for pod in sorted(waiting, key=lambda pod: -preemption.priority(pod)):
                it.queue.add(key_of(pod))
            return None
        await _reconcile(cluster, state, key)
        return None

    # One worker: two pods that want the same place are looked at one after the other.
    it = Controller("scheduler", reconcile, workers=1)

    def pod_changed(old: Object | None, pod: Object | None) -> None:
        state.changed(old, pod)
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


async def _reconcile(cluster: Cluster, state: _State, key: Key) -> None:
    pod = cluster.informers[PODS].get(*key)
    if pod is None or not _waits(pod):
        return
    if pod["spec"].get("schedulingGates"):
        said = "Scheduling is blocked due to non-empty scheduling gates"
        await _unschedulable(cluster, pod, "SchedulingGated", said)
        return
    if found := _obstacle(cluster, state, pod):
        if await _unschedulable(cluster, pod, "Unschedulable", str(found)):
            await cluster.event(pod, "Warning", "FailedScheduling", str(found), _SOURCE)
        if found.victims:
            await preemption.preempt(cluster, pod, found.victims)
        elif key in state.nominated and found.hope in (_HOPELESS, _NO_VICTIMS, ""):
            await preemption.nominate(cluster, pod, "")
        return
    name = cluster.settings.node_name
    bound = await cluster.patch(PODS, pod, {"spec": {"nodeName": name}}, subresource="binding")
    await _condition(cluster, bound, {"type": "PodScheduled", "status": "True"})
    full = "/".join(key)
    await cluster.event(pod, "Normal", "Scheduled", f"Successfully assigned {full} to {name}", _SOURCE)


def _obstacle(cluster: Cluster, state: _State, pod: Object) -> Obstacle | None:
    """Why the pod must wait, in the words of kube-scheduler; None when it need not."""
    if said := _unbound(cluster, pod):
        return Obstacle(f"0/1 nodes are available: {said}.", _HOPELESS, [])
    node = cluster.informers[NODES].get("", cluster.settings.node_name)
    if node is None:
        return Obstacle("no nodes available to schedule pods", "", [])
    hope, leaving = _HOPELESS, list[Object]()
    if not objects.ready(node):
        why = ["node(s) were not ready"]
    elif not (why := placement.obstacles(pod, node)[:1]):  # kube-scheduler, too, asks no further
        if not (why := _crowded(cluster, state, pod, node)):
            return None
        hope, leaving = _room(cluster, state, pod, node)
    listed = ", ".join(f"1 {it}" for it in why)
    return Obstacle(f"0/1 nodes are available: {listed}.", hope, leaving)


def _room(cluster: Cluster, state: _State, pod: Object, node: Object) -> tuple[str, list[Object]]:
    """(why nobody has to leave, who has to)."""
    if said := preemption.excuse(state.there, pod):
        return said, []
    group = (controller_of(pod) or {}).get("uid", "")
    asked, count = state.without(pod)
    # Cheap, before everybody is asked to leave in thought: thousands may wait for what there never is.
    short = placement.shortages(pod, asked, count, node, bounded=cluster.settings.bounded)
    if short or group in state.hopeless or not state.below[preemption.priority(pod)][1]:
        return _NO_VICTIMS, []
    found = preemption.victims(
        state.there, pod, lambda: not _crowded(cluster, state, pod, node), preemption.budgets(cluster)
    )
    if not found and group:
        state.hopeless.add(group)
    return _NO_VICTIMS, found


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


def _crowded(cluster: Cluster, state: _State, pod: Object, node: Object) -> list[str]:
    """What the pods that are there have against it, or it against them."""
    there = state.there
    if there.busy(pod):
        return ["node(s) didn't have free ports for the requested pod ports"]
    asked, count = state.asked(pod)
    if short := placement.shortages(pod, asked, count, node, bounded=cluster.settings.bounded):
        return short
    if _alone(cluster, there, pod):
        return [_ONE_POD]
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


def _alone(cluster: Cluster, there: Occupancy, pod: Object) -> bool:
    """Whether it uses a claim that one pod may use at a time, and another one does."""
    namespace = pod["metadata"]["namespace"]
    for name in claims.used(pod):
        claim = cluster.informers[PERSISTENT_VOLUME_CLAIMS].get(namespace, name)
        if claim is None or "ReadWriteOncePod" not in (claim["spec"].get("accessModes") or ()):
            continue
        if any(name in claims.used(it) for it in there.of_namespace(namespace)):
            return True
    return False


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
    await tell(cluster, pod, {**told, "lastTransitionTime": stamp(now())})
