"""Which pods have ended so long ago that nobody needs them? The oldest of very many, as in Kubernetes.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-garbage-collection
"""

from __future__ import annotations

from skiff.api import Object
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.job import ended
from skiff.controllers.queue import Key
from skiff.kinds import JOBS, PODS
from skiff.objects import controller_of, finished, key_of

#: So many that have ended are kept.
MOST = 12_500
#: Stands for all pods.
_ALL: Key = ("", "")
#: Further ones that end meanwhile are looked at together.
_SOON_S = 5.0


def controller(cluster: Cluster) -> Controller:
    """Pods that have ended, looked at when there are too many."""
    over: dict[Key, None] = {}  # in the order in which they ended

    async def reconcile(_: Key) -> float | None:
        surplus = len(over) - MOST
        if surplus <= 0:
            return None
        pods = [pod for key in list(over) if (pod := cluster.informers[PODS].get(*key)) is not None]
        for pod in sorted(filter(lambda it: _idle(cluster, it), pods), key=_age)[:surplus]:
            await cluster.delete(PODS, pod)
        return None

    it = Controller("podgc", reconcile, workers=1)

    def changed(old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is None:
            return
        if new is None or not finished(new) or new["metadata"].get("deletionTimestamp"):
            over.pop(key_of(obj), None)
            return
        over.setdefault(key_of(obj))
        if len(over) > MOST:
            it.queue.add_after(_ALL, _SOON_S)

    cluster.informers[PODS].listen(changed)
    return it


def _idle(cluster: Cluster, pod: Object) -> bool:
    """Whether nobody counts it any more: a Job does so until it is over."""
    owner = controller_of(pod)
    if owner is None or owner.get("kind") != JOBS.kind:
        return True
    job = cluster.informers[JOBS].get(pod["metadata"]["namespace"], owner["name"])
    return job is None or ended(job) is not None


def _age(pod: Object) -> tuple[str, Key]:
    return str(pod["metadata"].get("creationTimestamp") or ""), key_of(pod)
