"""Is what a cluster cannot do without still there? Its namespaces, Services and addresses come back when they are deleted."""

from __future__ import annotations

from skiff.api import Object
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.errors import ApiError
from skiff.kinds import Kind
from skiff.objects import copied, key_of

#: A namespace that ends refuses new objects; it may come back, too.
_AGAIN_S = 2.0


def controller(cluster: Cluster) -> Controller:
    """Looks when one of them goes; those that are there stay as users made them."""
    wanted: dict[Key, tuple[Kind, Object]] = {
        (*kind.storage, *key_of(obj)): (kind, obj) for kind, obj in cluster.settings.lasting
    }

    async def reconcile(key: Key) -> float | None:
        kind, obj = wanted[key]
        if cluster.informers[kind].get(*key_of(obj)) is None:
            return await _create(cluster, kind, obj)
        return None

    it = Controller("lasting", reconcile, workers=1)
    for kind in dict.fromkeys(kind for kind, _ in wanted.values()):

        def changed(old: Object | None, new: Object | None, kind: Kind = kind) -> None:
            if new is None and old is not None and (key := (*kind.storage, *key_of(old))) in wanted:
                it.queue.add(key)

        cluster.informers[kind].listen(changed)
    for key in wanted:
        it.queue.add(key)
    return it


async def _create(cluster: Cluster, kind: Kind, obj: Object) -> float | None:
    try:
        await cluster.create(kind, copied(obj))
    except ApiError as refused:
        if refused.reason != "AlreadyExists":
            return _AGAIN_S
    return None
