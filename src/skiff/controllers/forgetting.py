"""Which Events are old news? They are kept for an hour, as in Kubernetes: the store must not grow for ever."""

from __future__ import annotations

from skiff.api import Object
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.kinds import EVENTS, EVENTS_V1
from skiff.objects import now, parsed

_KEPT_S = 3600.0


def controller(cluster: Cluster) -> Controller:
    """Events, each looked at when its time is over."""

    async def reconcile(key: Key) -> float | None:
        waits = []
        for kind in (EVENTS, EVENTS_V1):
            event = cluster.informers[kind].get(*key)
            if event is None:
                continue
            left = _KEPT_S - _age(event)
            if left > 0:
                waits.append(left + 1)
            else:
                await cluster.delete(kind, event)
        return min(waits, default=None)

    it = Controller("forgetting", reconcile, workers=1)
    it.follow(cluster, EVENTS)
    it.follow(cluster, EVENTS_V1)
    return it


def _age(event: Object) -> float:
    seen = (event.get("series") or {}).get("lastObservedTime")
    times = (
        seen,
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    since = next((found for it in times if (found := parsed(it))), None)
    return (now() - since).total_seconds() if since else 0.0
