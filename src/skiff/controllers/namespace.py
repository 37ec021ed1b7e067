"""Is a namespace that should end empty, so that it may?"""

from __future__ import annotations

from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.errors import ApiError
from skiff.kinds import EVENTS, EVENTS_V1, NAMESPACES, Kind
from skiff.objects import copied

_FINALIZER = "kubernetes"


def controller(cluster: Cluster) -> Controller:
    """Namespaces. What is still inside is looked at again every half second: only terminating ones cost anything."""

    async def reconcile(key: Key) -> float | None:
        return await _reconcile(cluster, key[1])

    it = Controller("namespace", reconcile)
    it.follow(cluster, NAMESPACES)
    return it


async def _reconcile(cluster: Cluster, name: str) -> float | None:
    namespace = cluster.informers[NAMESPACES].get("", name)
    if namespace is None or not namespace["metadata"].get("deletionTimestamp"):
        return None
    if (namespace.get("status") or {}).get("phase") != "Terminating":
        await cluster.patch(NAMESPACES, namespace, {"status": {"phase": "Terminating"}}, subresource="status")
    # The caches may lag, so emptiness is asked of the API itself.
    kinds = [
        it.kind for it in cluster.informers.all() if it.kind.namespaced and it.kind not in {EVENTS, EVENTS_V1}
    ]
    left = sum([await _empty(cluster, kind, name) for kind in kinds])
    if left:
        return 0.5
    for kind in (EVENTS, EVENTS_V1):
        await _empty(cluster, kind, name)
    fresh = copied(await cluster.api.get(NAMESPACES, "", name))
    finalizers = (fresh.get("spec") or {}).get("finalizers") or []
    if _FINALIZER in finalizers:
        fresh["spec"]["finalizers"] = [it for it in finalizers if it != _FINALIZER]
        await cluster.api.update(NAMESPACES, fresh, subresource="finalize")
    return None


async def _empty(cluster: Cluster, kind: Kind, namespace: str) -> int:
    """Ask for the end of everything of one kind; how much was still there."""
    try:
        found = await cluster.api.list(kind, namespace)
    except ApiError as error:
        if error.code == 404:  # the kind itself is gone
            return 0
        raise
    for obj in found:
        if not obj["metadata"].get("deletionTimestamp"):
            await cluster.delete(kind, obj)
    return len(found)
