"""How many pods of a PodDisruptionBudget may be taken away right now?

https://kubernetes.io/docs/tasks/run-application/configure-pdb/
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import NamedTuple

from skiff import objects
from skiff.api import Object
from skiff.budgets import condition_of, selects
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.kinds import (
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    Kind,
)  # fmt: skip
from skiff.objects import controller_of, copied, key_of, now, parsed

_SOURCE = "controllermanager"
#: An eviction that was granted counts so long, even when its pod does not go.
_GRANTED_S = 120.0
_SCALED = {it.kind: it for it in (REPLICA_SETS, STATEFUL_SETS, REPLICATION_CONTROLLERS)}


class Count(NamedTuple):
    """What a budget is measured by. ``trouble`` says why there is none."""

    expected: int
    desired: int
    unmanaged: tuple[str, ...] = ()
    trouble: str = ""


def controller(cluster: Cluster) -> Controller:
    """Budgets, woken by the pods of their namespace that they select, and by what scales those."""

    async def reconcile(key: Key) -> float | None:
        found = cluster.informers[POD_DISRUPTION_BUDGETS].get(*key)
        gone = found is None or found["metadata"].get("deletionTimestamp")
        return None if gone or found is None else await _reconcile(cluster, found)

    it = Controller("disruption", reconcile, workers=1)
    it.follow(cluster, POD_DISRUPTION_BUDGETS)

    def pod_changed(old: Object | None, new: Object | None) -> None:
        obj = new or old
        for budget in cluster.informers[POD_DISRUPTION_BUDGETS].namespace(_place(obj)):
            if any(pod is not None and selects(budget, pod) for pod in (old, new)):
                it.queue.add(key_of(budget))

    def scale_changed(old: Object | None, new: Object | None) -> None:
        same = (
            old is not None and new is not None and old["spec"].get("replicas") == new["spec"].get("replicas")
        )
        for budget in () if same else cluster.informers[POD_DISRUPTION_BUDGETS].namespace(_place(new or old)):
            it.queue.add(key_of(budget))

    cluster.informers[PODS].listen(pod_changed)
    for kind in (*_SCALED.values(), DEPLOYMENTS):
        cluster.informers[kind].listen(scale_changed)
    return it


def _place(obj: Object | None) -> str:
    return str(obj["metadata"].get("namespace", "")) if obj else ""


async def _reconcile(cluster: Cluster, budget: Object) -> float | None:
    pods = [it for it in cluster.informers[PODS].namespace(_place(budget)) if selects(budget, it)]
    moment = now()
    count = counted(cluster, budget, pods)
    if not pods:
        await cluster.event(budget, "Normal", "NoPods", "No matching pods found", _SOURCE)
    if count.unmanaged:
        said = f"Pods selected by this PodDisruptionBudget (selector: {budget['spec'].get('selector')}) were found to be "
        said += "unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined "
        said += 'behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.'
        await cluster.event(budget, "Warning", "UnmanagedPods", said, _SOURCE)
    if count.trouble:
        said = f"Failed to calculate the number of expected pods: {count.trouble}"
        await cluster.event(budget, "Warning", "CalculateExpectedPodCountFailed", said, _SOURCE)
    granted, again = _granted(budget, pods, moment)
    status = _status(budget, pods, count, granted, moment)
    if status != budget.get("status"):
        # With its resourceVersion: an eviction that was granted meanwhile must not be forgotten.
        changed = {**copied(budget), "status": status}
        made = await cluster.api.update(POD_DISRUPTION_BUDGETS, changed, subresource="status")
        cluster.informers[POD_DISRUPTION_BUDGETS].learn(made)
    return again


def _granted(budget: Object, pods: list[Object], moment: datetime) -> tuple[dict[str, str], float | None]:
    """(pods whose eviction was granted and that are not seen to end yet, when the next of them counts again)."""
    held = (budget.get("status") or {}).get("disruptedPods") or {}
    kept: dict[str, str] = {}
    waits = []
    for pod in pods:
        name = pod["metadata"]["name"]
        since = parsed(held.get(name))
        if since is None or pod["metadata"].get("deletionTimestamp"):
            continue
        left = _GRANTED_S - (moment - since).total_seconds()
        if left > 0:
            kept[name] = held[name]
            waits.append(left + 0.1)
    return kept, min(waits, default=None)


def _status(
    budget: Object, pods: list[Object], count: Count, granted: dict[str, str], moment: datetime
) -> Object:
    healthy = sum(
        objects.ready(it) and not it["metadata"].get("deletionTimestamp") and it["metadata"]["name"] not in granted
        for it in pods
    )  # fmt: skip
    allowed = max(0, healthy - count.desired) if count.expected > 0 and not count.trouble else 0
    reason = "SyncFailed" if count.trouble else "SufficientPods" if allowed else "InsufficientPods"
    told = condition_of(budget, allowed=bool(allowed), reason=reason, message=count.trouble, moment=moment)
    made: Object = {
        "observedGeneration": budget["metadata"].get("generation", 1), "expectedPods": count.expected,
        "currentHealthy": healthy, "desiredHealthy": count.desired, "disruptionsAllowed": allowed, "conditions": [told],
    }  # fmt: skip
    return {**made, "disruptedPods": granted} if granted else made


def counted(cluster: Cluster, budget: Object, pods: list[Object]) -> Count:
    """(expected, desired): by numbers of the pods that are there, by shares of what their controllers want."""
    spec = budget["spec"]
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if most is None and isinstance(least, int):
        return Count(len(pods), least)
    expected, unmanaged, trouble = _wanted(cluster, pods)
    if trouble:
        return Count(0, 0, trouble=trouble)
    if most is not None:
        return Count(expected, max(0, expected - share(most, expected)), unmanaged)
    return Count(expected, share(least, expected) if least is not None else 0, unmanaged)


def share(wish: int | str, whole: int) -> int:
    """A number, or a percentage of the whole, rounded up as Kubernetes does here."""
    if isinstance(wish, int):
        return wish
    number = wish.removesuffix("%")
    return math.ceil(int(number) * whole / 100) if number.isdigit() else 0


def _wanted(cluster: Cluster, pods: list[Object]) -> tuple[int, tuple[str, ...], str]:
    """(how many pods the controllers want in all, pods without one, what is wrong)."""
    replicas: dict[str, int] = {}
    unmanaged = []
    for pod in pods:
        owner = controller_of(pod)
        if owner is None:
            unmanaged.append(pod["metadata"]["name"])
            continue
        if owner.get("uid") in replicas:
            continue
        kind = _SCALED.get(owner.get("kind", ""))
        if kind is None:
            group = owner.get("apiVersion", "").rpartition("/")[0]
            named = f"{owner.get('kind', '').lower()}s" + (f".{group}" if group else "")
            return 0, (), f"{named} does not implement the scale subresource"
        found = cluster.informers[kind].get(_place(pod), owner["name"])
        if found is not None and found["metadata"].get("uid") == owner.get("uid"):
            _note(cluster, replicas, owner["uid"], found)
    return sum(replicas.values()), tuple(unmanaged), ""


def _note(cluster: Cluster, replicas: dict[str, int], uid: str, found: Object) -> None:
    """Count what scales the pod, once: a Deployment's ReplicaSets share its wish."""
    replicas[uid] = 0
    above = controller_of(found)
    kind: Kind = DEPLOYMENTS
    if above is not None and above.get("kind") == kind.kind:
        deployment = cluster.informers[kind].get(_place(found), above["name"])
        if deployment is not None:
            replicas[deployment["metadata"]["uid"]] = int(deployment["spec"].get("replicas", 1))
        return
    replicas[uid] = int(found["spec"].get("replicas", 1))
