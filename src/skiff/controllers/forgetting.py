"""Which Events are old news? They are kept for an hour, as in Kubernetes: the store must not grow for ever."""

from __future__ import annotations

from skiff.api import Object
from skiff.controllers.cluster import Cluster, Controller, now, parsed
from skiff.controllers.queue import Key
from skiff.kinds import EVENTS

_KEPT_S = 3600.0


def controller(cluster: Cluster) -> Controller:
    """Events, each looked at when its time is over."""

    async def reconcile(key: Key) -> float | None:
        event = cluster.informers[EVENTS].get(*key)
        if event is None:
            return None
        left = _KEPT_S - _age(event)
        if left > 0:
            return left + 1
        await cluster.delete(EVENTS, event)
        return None

    it = Controller("forgetting", reconcile, workers=1)
    it.follow(cluster, EVENTS)
    return it


def _age(event: Object) -> float:
    times = (event.get("lastTimestamp"), event.get("eventTime"), event["metadata"].get("creationTimestamp"))
    since = next((found for it in times if (found := parsed(it))), None)
    return (now() - since).total_seconds() if since else 0.0
