"""Whose owners are gone, and who waits for its dependents? Ownership across all kinds."""

from __future__ import annotations

from skiff.api import Object
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.informer import Informer
from skiff.controllers.queue import Key
from skiff.errors import ApiError
from skiff.kinds import (
    BUILT_IN,
    COMPUTED,
    CUSTOM_RESOURCE_DEFINITIONS,
    ENDPOINTS,
    EVENTS,
    EVENTS_V1,
    REVIEWS,
    Kind,
)
from skiff.objects import key_of, owners_of

_FOREGROUND, _ORPHAN = "foregroundDeletion", "orphan"


def controller(cluster: Cluster) -> Controller:
    """Everything that has owners or dependents, of all kinds, custom ones as they come."""

    async def reconcile(key: Key) -> float | None:
        return await _reconcile(cluster, key)

    it = Controller("garbage", reconcile, workers=3)

    def follow(informer: Informer) -> None:
        group, plural = informer.kind.storage

        def changed(old: Object | None, new: Object | None) -> None:
            obj = new or old
            if obj is None:
                return
            if new is not None and (owners_of(new) or _waiting(new)):
                it.queue.add((group, plural, *key_of(new)))
            if new is None:
                _wake_relatives(cluster, it, obj)

        informer.listen(changed)

    cluster.informers.on_arrival(follow)
    for kind in BUILT_IN:
        if kind not in REVIEWS | COMPUTED and kind not in {EVENTS, EVENTS_V1, ENDPOINTS}:
            _ = cluster.informers[kind]  # asking begins the cache
    cluster.informers[CUSTOM_RESOURCE_DEFINITIONS].listen(lambda _, new: _follow_custom(cluster, new))
    return it


def _follow_custom(cluster: Cluster, definition: Object | None) -> None:
    if definition is None or definition["metadata"].get("deletionTimestamp"):
        return
    spec = definition["spec"]
    names = spec["names"]
    served = [it for it in spec.get("versions") or () if it.get("served")]
    if served:
        version = next((it["name"] for it in served if it.get("storage")), served[0]["name"])
        scope = spec.get("scope") == "Namespaced"
        _ = cluster.informers[
            Kind(spec["group"], version, names["kind"], names["plural"], scope, custom=True)
        ]


def _waiting(obj: Object) -> bool:
    held = obj["metadata"].get("finalizers") or ()
    return bool(obj["metadata"].get("deletionTimestamp")) and (_FOREGROUND in held or _ORPHAN in held)


def _wake_relatives(cluster: Cluster, it: Controller, gone: Object) -> None:
    uids = {owner.get("uid") for owner in owners_of(gone)}
    for informer in cluster.informers.all():
        group, plural = informer.kind.storage
        for dependent in informer.naming(gone["metadata"].get("uid", "")):
            it.queue.add((group, plural, *key_of(dependent)))
        for name in {(gone["metadata"].get("namespace", ""), o["name"]) for o in owners_of(gone)}:
            owner = informer.objects.get(name) or informer.objects.get(("", name[1]))
            if owner is not None and owner["metadata"].get("uid") in uids and _waiting(owner):
                it.queue.add((group, plural, *key_of(owner)))


def _informer(cluster: Cluster, group: str, plural: str) -> Informer | None:
    return next((it for it in cluster.informers.all() if it.kind.storage == (group, plural)), None)


async def _reconcile(cluster: Cluster, key: Key) -> float | None:
    group, plural, namespace, name = key
    informer = _informer(cluster, group, plural)
    obj = informer.get(namespace, name) if informer is not None else None
    if informer is None or obj is None:
        return None
    if obj["metadata"].get("deletionTimestamp"):
        if not _waiting(obj):
            return None
        dependents = [(it.kind, found) for it in cluster.informers.all() for found in it.owned(obj)]
        if _ORPHAN in obj["metadata"]["finalizers"]:
            await _release(cluster, informer.kind, obj, dependents)
            return None
        return await _end_dependents(cluster, informer.kind, obj, dependents)
    await _judge(cluster, informer.kind, obj)
    return None


async def _release(cluster: Cluster, kind: Kind, obj: Object, dependents: list[tuple[Kind, Object]]) -> None:
    """Orphan: the dependents forget their owner, then the owner may go."""
    for of, it in dependents:
        kept = [owner for owner in owners_of(it) if owner.get("uid") != obj["metadata"]["uid"]]
        await cluster.patch(of, it, {"metadata": {"ownerReferences": kept or None}})
    await _without(cluster, kind, obj, _ORPHAN)


async def _end_dependents(
    cluster: Cluster, kind: Kind, obj: Object, dependents: list[tuple[Kind, Object]]
) -> float | None:
    """Foreground: those that block must be gone before the owner may go."""
    uid = obj["metadata"]["uid"]
    blocking = 0
    above = {owner.get("uid") for owner in owners_of(obj)}
    for of, it in dependents:
        others = [owner for owner in owners_of(it) if owner.get("uid") != uid]
        if any([await _exists(cluster, it, owner) for owner in others]):
            await cluster.patch(of, it, {"metadata": {"ownerReferences": others}})
            continue
        circle = it["metadata"]["uid"] in above and bool(it["metadata"].get("deletionTimestamp"))
        blocking += not circle and any(  # two that own each other would wait for ever
            owner.get("uid") == uid and owner.get("blockOwnerDeletion") for owner in owners_of(it)
        )
        if not it["metadata"].get("deletionTimestamp"):
            await cluster.delete(of, it, propagation="Foreground")
    if blocking:
        return 1.0
    await _without(cluster, kind, obj, _FOREGROUND)
    return None


async def _without(cluster: Cluster, kind: Kind, obj: Object, finalizer: str) -> None:
    try:
        fresh = await cluster.api.get(kind, *key_of(obj))
        if fresh["metadata"].get("uid") != obj["metadata"]["uid"]:
            return
        kept = [it for it in fresh["metadata"].get("finalizers") or () if it != finalizer]
        await cluster.patch(kind, fresh, {"metadata": {"finalizers": kept}})
    except ApiError as error:
        if error.code != 404:
            raise


async def _judge(cluster: Cluster, kind: Kind, obj: Object) -> None:
    """Delete it when every owner is gone; forget those that are when some live."""
    owners = owners_of(obj)
    living = [it for it in owners if await _exists(cluster, obj, it)]
    if not owners or len(living) == len(owners):
        return
    # The cache may not have heard that an owner let it go (orphan): ask before something is deleted.
    if owners_of(await cluster.api.get(kind, *key_of(obj))) != owners:
        return
    if living:
        await cluster.patch(kind, obj, {"metadata": {"ownerReferences": living}})
    else:
        await cluster.delete(kind, obj)


async def _exists(cluster: Cluster, dependent: Object, owner: Object) -> bool:
    group, _, _ = owner.get("apiVersion", "").rpartition("/")
    informer = next(
        (
            it
            for it in cluster.informers.all()
            if it.kind.group == group and it.kind.kind == owner.get("kind")
        ),
        None,
    )
    if informer is None:
        return True  # a kind nobody knows (yet): never a reason to delete
    namespace = dependent["metadata"].get("namespace", "") if informer.kind.namespaced else ""
    if (
        informer.kind.namespaced and not namespace
    ):  # nobody can say which one is meant, so it is no reason to delete
        said = f"ownerRef [{owner.get('apiVersion')}/{owner.get('kind')}, namespace: , name: {owner.get('name')}, "
        said += f'uid: {owner.get("uid")}] does not exist in namespace ""'
        await cluster.event(
            dependent, "Warning", "OwnerRefInvalidNamespace", said, "garbage-collector-controller"
        )
        return True
    held = informer.get(namespace, owner["name"])
    if held is not None and held["metadata"].get("uid") == owner.get("uid"):
        return True
    # The cache may not have heard of a new owner: ask before something is deleted.
    try:
        found = await cluster.api.get(informer.kind, namespace, owner["name"])
    except ApiError as error:
        if error.code == 404:
            return False
        raise
    return bool(found["metadata"].get("uid") == owner.get("uid"))
