"""Who must leave for a pod that is more important? As few as possible, and the least important of them.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from skiff.api import Object
from skiff.budgets import selects
from skiff.controllers.cluster import Cluster
from skiff.controllers.occupancy import Occupancy
from skiff.controllers.pods import tell
from skiff.kinds import POD_DISRUPTION_BUDGETS, PODS
from skiff.objects import key_of, now, stamp

_SOURCE = "default-scheduler"


def priority(pod: Object) -> int:
    """How important a pod is."""
    return int(pod["spec"].get("priority") or 0)


def excuse(there: Occupancy, pod: Object) -> str:
    """Why the pod may not send others away, in the words of kube-scheduler; "" when it may."""
    if pod["spec"].get("preemptionPolicy") == "Never":
        return "not eligible due to preemptionPolicy=Never."
    if (pod.get("status") or {}).get("nominatedNodeName") and _leaving(there, pod):
        return "not eligible due to terminating pod on the nominated node."
    return ""


def _leaving(there: Occupancy, pod: Object) -> bool:
    mine = priority(pod)
    return any(it["metadata"].get("deletionTimestamp") and priority(it) < mine for it in there.pods.values())


def victims(
    there: Occupancy, pod: Object, fits: Callable[[], bool], budgets: Iterable[Object]
) -> list[Object]:
    """Those of lower priority without whom the pod fits; none when that would not help."""
    mine = priority(pod)
    lower = [it for it in there.pods.values() if priority(it) < mine]
    if not lower:
        return []
    kept = _protected(lower, budgets)
    # Who is under a budget, important and old comes back first.
    lower.sort(key=lambda it: (key_of(it) not in kept, -priority(it), _begun(it), key_of(it)))
    gone: dict[tuple[str, ...], Object] = {}
    try:
        for it in lower:
            there.changed(it, None)
            gone[key_of(it)] = it
        if not fits():
            return []
        needed = []
        for it in lower:
            there.changed(None, it)
            if fits():
                del gone[key_of(it)]
            else:
                there.changed(it, None)
                needed.append(it)
        return needed
    finally:
        for it in gone.values():
            there.changed(None, it)


def _begun(pod: Object) -> str:
    return str((pod.get("status") or {}).get("startTime") or pod["metadata"].get("creationTimestamp") or "")


def _protected(pods: list[Object], budgets: Iterable[Object]) -> set[tuple[str, ...]]:
    """Those whose budget does not allow that they go."""
    found: set[tuple[str, ...]] = set()
    for budget in budgets:
        left = (budget.get("status") or {}).get("disruptionsAllowed", 0)
        for it in pods:
            same = it["metadata"]["namespace"] == budget["metadata"]["namespace"]
            if same and selects(budget, it):
                left -= 1
                if left < 0:
                    found.add(key_of(it))
    return found


async def preempt(cluster: Cluster, pod: Object, leaving: list[Object]) -> None:
    """Note where the pod will run, and send the others away, with their time to end."""
    await nominate(cluster, pod, cluster.settings.node_name)
    for it in leaving:
        told = {
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": f"{_SOURCE}: preempting to accommodate a higher priority pod", "lastTransitionTime": stamp(now()),
        }  # fmt: skip
        await tell(cluster, it, told)
        await cluster.delete(PODS, it)
        said = f"Preempted by pod {pod['metadata']['uid']} on node {cluster.settings.node_name}"
        await cluster.event(it, "Normal", "Preempted", said, _SOURCE)


async def nominate(cluster: Cluster, pod: Object, node: str) -> None:
    """Where room is made for the pod; "" when there will be none."""
    await cluster.status(PODS, pod, {"nominatedNodeName": node or None})


def budgets(cluster: Cluster) -> list[Any]:
    """All of them."""
    return list(cluster.informers[POD_DISRUPTION_BUDGETS].objects.values())
