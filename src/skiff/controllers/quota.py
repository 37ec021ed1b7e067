"""What does a ResourceQuota say is used? Its status follows what exists."""

from __future__ import annotations

from collections.abc import Iterable

from skiff.admission.usage import Account, Ledger, Storage
from skiff.api import Object
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.kinds import BUILT_IN, RESOURCE_QUOTAS, Kind

#: A namespace in which much is made has its status written this often, not for each object.
_PAUSE_S = 0.05


def controller(cluster: Cluster) -> Controller:
    """Quotas, woken when their sums move."""

    async def reconcile(key: Key) -> float | None:
        account = ledger.account(*key)
        quota = cluster.informers[RESOURCE_QUOTAS].get(*key)
        if account is not None and quota is not None and not quota["metadata"].get("deletionTimestamp"):
            await _told(cluster, quota, account)
        return None

    def listed(namespace: str, storage: Storage) -> Iterable[Object]:
        return cluster.informers[_kind(storage)].namespace(namespace)

    def changed(storage: Storage, new: Object | None, old: Object | None) -> None:
        for account in ledger.changed(storage, new, old):
            metadata = account.quota["metadata"]
            it.queue.add_after((metadata["namespace"], metadata["name"]), _PAUSE_S)

    def follow(storage: Storage) -> None:
        if storage != RESOURCE_QUOTAS.storage:  # told below, in the right order
            cluster.informers[_kind(storage)].listen(lambda old, new: changed(storage, new, old))

    def quota_changed(old: Object | None, new: Object | None) -> None:
        changed(RESOURCE_QUOTAS.storage, new, old)
        ledger.quota(new, old)

    ledger = Ledger(listed, follow)
    it = Controller("quota", reconcile, workers=1)
    cluster.informers[RESOURCE_QUOTAS].listen(quota_changed)
    it.follow(cluster, RESOURCE_QUOTAS)
    return it


async def _told(cluster: Cluster, quota: Object, account: Account) -> None:
    status = account.status()
    if quota.get("status") != status:  # replaced, not merged: what is no longer limited goes
        stored = await cluster.api.update(RESOURCE_QUOTAS, {**quota, "status": status}, subresource="status")
        cluster.informers[RESOURCE_QUOTAS].learn(stored)


def _kind(storage: Storage) -> Kind:
    """Caches go by storage: of a kind that a definition added, nothing else need be known."""
    group, plural = storage
    known = (it for it in BUILT_IN if it.storage == storage)
    return next(known, None) or Kind(group, "v1", plural, plural)
