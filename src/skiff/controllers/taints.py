"""Which pods must leave because of a taint? Those that do not bear NoExecute, and those whose patience ends."""

from __future__ import annotations

from skiff.api import Object
from skiff.controllers import placement
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.kinds import NODES, PODS
from skiff.objects import active, key_of, now, parsed

_SOURCE = "taint-eviction-controller"


def controller(cluster: Cluster) -> Controller:
    """Pods on the node, all of them woken when its taints change."""

    async def reconcile(key: Key) -> float | None:
        return await _reconcile(cluster, key)

    it = Controller("taints", reconcile, workers=1)

    def node_changed(old: Object | None, new: Object | None) -> None:
        if new is not None and lasting(new) != (lasting(old) if old is not None else []):
            for pod in cluster.informers[PODS].objects.values():
                it.queue.add(key_of(pod))

    def pod_changed(old: Object | None, new: Object | None) -> None:
        fresh = new is not None and (old is None or old["spec"] is not new["spec"])
        if new is not None and fresh and new["spec"].get("nodeName"):
            it.queue.add(key_of(new))

    cluster.informers[NODES].listen(node_changed)
    cluster.informers[PODS].listen(pod_changed)
    return it


def lasting(node: Object) -> list[Object]:
    """The taints that end pods."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return [it for it in taints if it.get("effect") == "NoExecute"]


async def _reconcile(cluster: Cluster, key: Key) -> float | None:
    pod, node = (
        cluster.informers[PODS].get(*key),
        cluster.informers[NODES].get("", cluster.settings.node_name),
    )
    if pod is None or node is None or not pod["spec"].get("nodeName") or not active(pod):
        return None
    left = _patience(pod, lasting(node))
    if left is None or left > 0:
        return None if left is None else left + 0.05
    said = f"Marking for deletion Pod {'/'.join(key)}"
    await cluster.event(pod, "Normal", "TaintManagerEviction", said, _SOURCE)
    await cluster.delete(PODS, pod)
    return None


def _patience(pod: Object, taints: list[Object]) -> float | None:
    """Seconds until it must leave; None when it may stay."""
    waits = []
    for taint in taints:
        borne = [it for it in pod["spec"].get("tolerations") or () if placement.tolerates(it, taint)]
        if not borne:
            return 0.0
        if all(it.get("tolerationSeconds") is not None for it in borne):
            added, begun = parsed(taint.get("timeAdded")), parsed((pod.get("status") or {}).get("startTime"))
            born = parsed(pod["metadata"].get("creationTimestamp"))
            since = max((it for it in (added, begun or born) if it is not None), default=now())
            seconds = min(int(it["tolerationSeconds"]) for it in borne)
            waits.append(seconds - (now() - since).total_seconds())
    return min(waits, default=None)
