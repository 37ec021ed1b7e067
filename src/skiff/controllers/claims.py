"""Does a PersistentVolumeClaim have its volume? On this machine a claim is a folder that the node makes when it is used."""

from __future__ import annotations

from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.kinds import PERSISTENT_VOLUME_CLAIMS


def controller(cluster: Cluster) -> Controller:
    """Every claim is bound at once."""

    async def reconcile(key: Key) -> float | None:
        claim = cluster.informers[PERSISTENT_VOLUME_CLAIMS].get(*key)
        if claim is not None and not claim["metadata"].get("deletionTimestamp"):
            spec = claim["spec"]
            status = {
                "phase": "Bound", "accessModes": spec.get("accessModes") or ["ReadWriteOnce"],
                "capacity": (spec.get("resources") or {}).get("requests") or {},
            }  # fmt: skip
            await cluster.status(PERSISTENT_VOLUME_CLAIMS, claim, status)
        return None

    it = Controller("claims", reconcile, workers=1)
    it.follow(cluster, PERSISTENT_VOLUME_CLAIMS)
    return it
