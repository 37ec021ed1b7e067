"""Is a node still there? Of nodes that nobody speaks for it is said so, as Kubernetes' node lifecycle controller does.

The node that runs here speaks for itself; others are objects that somebody made, for tests or by mistake.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from skiff.api import Object
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.kinds import NODES
from skiff.objects import now, parsed, stamp

_KINDS = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
#: How long a new node may take to say something, and how long one may be silent afterwards.
_FIRST, _SILENT = timedelta(seconds=60), timedelta(seconds=50)


def controller(cluster: Cluster) -> Controller:
    """Nodes other than the own one."""

    async def reconcile(key: Key) -> float | None:
        node = cluster.informers[NODES].get(*key)
        if node is None or key[1] == cluster.settings.node_name:
            return None
        conditions, again = judged(node, now())
        if conditions is not None:
            await cluster.status(NODES, node, {"conditions": conditions})
        return again

    it = Controller("node-lifecycle", reconcile, workers=1)
    it.follow(cluster, NODES)
    return it


def judged(node: Object, moment: datetime) -> tuple[list[Object] | None, float | None]:
    """(the conditions that must be said of a node, None when nothing must; seconds until it is to be looked at again)."""
    held = {it.get("type"): it for it in (node.get("status") or {}).get("conditions") or ()}
    begun = parsed(node["metadata"].get("creationTimestamp")) or moment
    beats = [it for it in (parsed(c.get("lastHeartbeatTime")) for c in held.values()) if it is not None]
    end = max(beats) + _SILENT if beats else begun + _FIRST
    if moment < end:
        return None, (end - moment).total_seconds()
    said = ("NodeStatusUnknown", "Kubelet stopped posting node status.") if beats else (
        "NodeStatusNeverUpdated", "Kubelet never posted node status.")  # fmt: skip
    made = [_unknown(held.get(kind), kind, said, moment) for kind in _KINDS]
    others = [it for kind, it in held.items() if kind not in _KINDS]
    wanted = [*others, *made]
    return (None if wanted == list(held.values()) else wanted), None


def _unknown(before: Object | None, kind: str, said: tuple[str, str], moment: datetime) -> Object:
    if before is not None and before.get("status") == "Unknown":
        return before
    reason, message = said
    kept = {name: it for name, it in (before or {}).items() if name == "lastHeartbeatTime"}
    return {
        "type": kind,
        "status": "Unknown",
        "reason": reason,
        "message": message,
        **kept,
        "lastTransitionTime": stamp(moment),
    }
