"""Does the node run the pod that a DaemonSet wants on every node?"""

from __future__ import annotations

from skiff import objects
from skiff.api import Object
from skiff.controllers import placement, revisions
from skiff.controllers import pods as pod_questions
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.deployment import template_hash
from skiff.controllers.queue import Key
from skiff.kinds import DAEMON_SETS, NODES, PODS
from skiff.objects import now

_SOURCE = "daemonset-controller"
#: What a DaemonSet's pods bear, as in Kubernetes.
_TOLERATED = ("not-ready:NoExecute", "unreachable:NoExecute", "disk-pressure:NoSchedule", "memory-pressure:NoSchedule",
              "pid-pressure:NoSchedule", "unschedulable:NoSchedule")  # fmt: skip


def controller(cluster: Cluster) -> Controller:
    """DaemonSets, woken by their pods and by the node."""

    async def reconcile(key: Key) -> float | None:
        found = cluster.informers[DAEMON_SETS].get(*key)
        return None if found is None else await _reconcile(cluster, found)

    it = Controller("daemonset", reconcile)
    it.follow(cluster, DAEMON_SETS)
    it.follow_owned(cluster, PODS, DAEMON_SETS)

    def node_changed(old: Object | None, new: Object | None) -> None:
        if placement.described(old) != placement.described(new):
            for owner in cluster.informers[DAEMON_SETS].objects.values():
                it.queue.add((owner["metadata"]["namespace"], owner["metadata"]["name"]))

    cluster.informers[NODES].listen(node_changed)
    return it


async def _reconcile(cluster: Cluster, owner: Object) -> float | None:
    pods = await pod_questions.claimed(cluster, DAEMON_SETS, owner)
    template = _pod(owner)
    node = cluster.informers[NODES].get("", cluster.settings.node_name)
    wanted = node is not None and not placement.obstacles(template, node)
    if not owner["metadata"].get("deletionTimestamp"):
        await revisions.keep(cluster, DAEMON_SETS, owner, template_hash(owner))
        await _bring(cluster, owner, pods, template, wanted=wanted)
    return await _tell(cluster, owner, wanted=wanted)


def _pod(owner: Object) -> Object:
    mark = {revisions.LABEL: template_hash(owner)}
    made = pod_questions.pod_of(DAEMON_SETS, owner, owner["spec"].get("template") or {}, labels=mark)
    borne = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect}
        for key, _, effect in (it.partition(":") for it in _TOLERATED)
    ]
    made["spec"]["tolerations"] = [*(made["spec"].get("tolerations") or ()), *borne]
    return made


async def _bring(
    cluster: Cluster, owner: Object, pods: list[Object], template: Object, *, wanted: bool
) -> None:
    kept = [it for it in pods if not objects.finished(it)]
    leaving = [it for it in pods if objects.finished(it)] + (kept[1:] if wanted else kept)
    if wanted and kept and (owner["spec"].get("updateStrategy") or {}).get("type") != "OnDelete":
        mark = template["metadata"]["labels"][revisions.LABEL]
        leaving += [it for it in kept[:1] if it["metadata"]["labels"].get(revisions.LABEL) != mark]
    going = [it for it in leaving if not it["metadata"].get("deletionTimestamp")]
    await pod_questions.delete_pods(cluster, owner, going, _SOURCE)
    if wanted and not kept:  # a pod that is ending still holds its place
        await pod_questions.create_pods(cluster, owner, [template], _SOURCE)


async def _tell(cluster: Cluster, owner: Object, *, wanted: bool) -> float | None:
    living = [it for it in cluster.informers[PODS].owned(owner) if objects.active(it)]
    moment, seconds = now(), int(owner["spec"].get("minReadySeconds", 0))
    waits = [pod_questions.available_in(it, seconds, moment) for it in living]
    mark, available = template_hash(owner), sum(it == 0.0 for it in waits)
    status = {
        "desiredNumberScheduled": int(wanted), "currentNumberScheduled": len(living) if wanted else 0,
        "numberMisscheduled": 0 if wanted else len(living), "numberReady": sum(it is not None for it in waits),
        "numberAvailable": available, "numberUnavailable": max(0, int(wanted) - available),
        "updatedNumberScheduled": sum(it["metadata"]["labels"].get(revisions.LABEL) == mark for it in living),
        "observedGeneration": owner["metadata"].get("generation", 1),
    }  # fmt: skip
    await cluster.status(DAEMON_SETS, owner, status)
    later = [it for it in waits if it]
    return min(later) + 0.05 if later else None
