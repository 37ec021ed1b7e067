"""Does a PersistentVolumeClaim have its volume? On this machine a claim is a folder that the node makes when it is used,
and removes with the claim."""

from __future__ import annotations

from skiff.api import Object
from skiff.controllers import pods as pod_questions
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.kinds import PERSISTENT_VOLUME_CLAIMS, PODS

_PROTECTION = "kubernetes.io/pvc-protection"


def controller(cluster: Cluster) -> Controller:
    """Every claim is bound at once; one that is to go waits for the pods that use it, as in Kubernetes."""

    async def reconcile(key: Key) -> float | None:
        claim = cluster.informers[PERSISTENT_VOLUME_CLAIMS].get(*key)
        if claim is not None:
            await (_release if claim["metadata"].get("deletionTimestamp") else _bind)(cluster, claim)
        return None

    it = Controller("claims", reconcile, workers=1)
    it.follow(cluster, PERSISTENT_VOLUME_CLAIMS)

    def pod_changed(old: Object | None, new: Object | None) -> None:
        if old is not None and (new is None or pod_questions.finished(new)):
            for name in _used(old):
                it.queue.add((old["metadata"]["namespace"], name))

    cluster.informers[PODS].listen(pod_changed)
    return it


async def _bind(cluster: Cluster, claim: Object) -> None:
    held = claim["metadata"].get("finalizers") or []
    if _PROTECTION not in held:
        patch = {"metadata": {"finalizers": [*held, _PROTECTION]}}
        claim = await cluster.patch(PERSISTENT_VOLUME_CLAIMS, claim, patch)
    spec = claim["spec"]
    status = {
        "phase": "Bound", "accessModes": spec.get("accessModes") or ["ReadWriteOnce"],
        "capacity": (spec.get("resources") or {}).get("requests") or {},
    }  # fmt: skip
    await cluster.status(PERSISTENT_VOLUME_CLAIMS, claim, status)


async def _release(cluster: Cluster, claim: Object) -> None:
    namespace, name = claim["metadata"]["namespace"], claim["metadata"]["name"]
    pods = cluster.informers[PODS].namespace(namespace)
    if not any(name in _used(it) for it in pods if not pod_questions.finished(it)):
        kept = [it for it in claim["metadata"].get("finalizers") or () if it != _PROTECTION]
        await cluster.patch(PERSISTENT_VOLUME_CLAIMS, claim, {"metadata": {"finalizers": kept}})


def _used(pod: Object) -> list[str]:
    """The claims of a pod."""
    volumes = pod["spec"].get("volumes") or ()
    return [claim["claimName"] for it in volumes if (claim := it.get("persistentVolumeClaim"))]
