"""What becomes of a PersistentVolume? Its phase, and its end when its claim is gone; claims that pods bring with them."""

from __future__ import annotations

from collections.abc import Iterable

from skiff.api import Object
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.pods import owner_reference
from skiff.controllers.queue import Key
from skiff.errors import ApiError
from skiff.kinds import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from skiff.names import PROVISIONER
from skiff.objects import controller_of, copied, matches
from skiff.quantities import parse

_PROTECTION = "kubernetes.io/pv-protection"
_SOURCE = "persistentvolume-controller"


def controller(cluster: Cluster) -> Controller:
    """Volumes, woken by their claims; and pods with volumes of their own."""

    async def reconcile(key: Key) -> float | None:
        if key[0]:
            await _bring_claims(cluster, key)
        elif (volume := cluster.informers[PERSISTENT_VOLUMES].get(*key)) is not None:
            await _tell(cluster, volume)
        return None

    it = Controller("volumes", reconcile, workers=1)
    it.follow(cluster, PERSISTENT_VOLUMES)

    def claim_changed(old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is not None and (name := obj["spec"].get("volumeName")):
            it.queue.add(("", name))

    def pod_changed(_: Object | None, pod: Object | None) -> None:
        for volume in (pod["spec"].get("volumes") or ()) if pod is not None else ():
            if volume.get("ephemeral") is not None and pod is not None:
                it.queue.add((pod["metadata"]["namespace"], pod["metadata"]["name"]))

    cluster.informers[PERSISTENT_VOLUME_CLAIMS].listen(claim_changed)
    cluster.informers[PODS].listen(pod_changed)
    return it


def provisioned(volume: Object) -> bool:
    """Whether it is a folder that was made for a claim."""
    marks = volume["metadata"].get("annotations") or {}
    return marks.get("pv.kubernetes.io/provisioned-by") == PROVISIONER


def fitting(claim: Object, volumes: Iterable[Object]) -> Object | None:
    """The smallest volume that has all that the claim asks for."""
    spec = claim["spec"]
    wish = _size((spec.get("resources") or {}).get("requests"))
    modes = set(spec.get("accessModes") or ())
    fits = [
        it for it in volumes
        if (it["spec"].get("storageClassName") or "") == (spec.get("storageClassName") or "")
        and modes <= set(it["spec"].get("accessModes") or ())
        and it["spec"].get("volumeMode", "Filesystem") == spec.get("volumeMode", "Filesystem")
        and _size(it["spec"].get("capacity")) >= wish and not it["metadata"].get("deletionTimestamp")
        and (it.get("status") or {}).get("phase") not in ("Released", "Failed")
        and (spec.get("selector") is None or matches(spec["selector"], it["metadata"].get("labels")))
    ]  # fmt: skip
    reserved = [it for it in fits if it["spec"].get("claimRef")]
    return min(
        reserved or fits,
        key=lambda it: (_size(it["spec"].get("capacity")), it["metadata"]["name"]),
        default=None,
    )


def _size(said: Object | None) -> float:
    try:
        return float(parse(str((said or {}).get("storage", "0"))))
    except ValueError:
        return 0.0


async def _tell(cluster: Cluster, volume: Object) -> None:
    holder = volume["spec"].get("claimRef") or {}
    bound = bool(holder.get("uid")) and await _lives(cluster, holder)
    if volume["metadata"].get("deletionTimestamp"):
        if not bound:
            kept = [it for it in volume["metadata"].get("finalizers") or () if it != _PROTECTION]
            await cluster.patch(PERSISTENT_VOLUMES, volume, {"metadata": {"finalizers": kept}})
        return
    held = volume["metadata"].get("finalizers") or []
    if _PROTECTION not in held:
        volume = await cluster.patch(
            PERSISTENT_VOLUMES, volume, {"metadata": {"finalizers": [*held, _PROTECTION]}}
        )
    phase = "Bound" if bound else "Released" if holder.get("uid") else "Available"
    if phase == "Released" and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
        if provisioned(volume):
            await cluster.delete(PERSISTENT_VOLUMES, volume)
            return
        phase = "Failed"
        said = "no volume plugin matched: skiff deletes only the folders that it made"
        await cluster.event(volume, "Warning", "VolumeFailedDelete", said, _SOURCE)
    await cluster.status(PERSISTENT_VOLUMES, volume, {"phase": phase})


async def _lives(cluster: Cluster, holder: Object) -> bool:
    """The cache may not have heard of the claim, and a volume must not go because of that."""
    try:
        found = await cluster.api.get(
            PERSISTENT_VOLUME_CLAIMS, holder.get("namespace", ""), holder.get("name", "")
        )
    except ApiError as gone:
        if gone.code == 404:
            return False
        raise
    return bool(found["metadata"]["uid"] == holder["uid"])


async def _bring_claims(cluster: Cluster, key: Key) -> None:
    """The claims of a pod's ``ephemeral`` volumes, which go when it goes."""
    pod = cluster.informers[PODS].get(*key)
    if pod is None or pod["metadata"].get("deletionTimestamp"):
        return
    for volume in pod["spec"].get("volumes") or ():
        wish = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if wish is None:
            continue
        name = f"{pod['metadata']['name']}-{volume['name']}"
        held = cluster.informers[PERSISTENT_VOLUME_CLAIMS].get(key[0], name)
        if held is not None:
            if (controller_of(held) or {}).get("uid") != pod["metadata"]["uid"]:
                said = f'PVC "{key[0]}/{name}" was not created for pod "{"/".join(key)}" (pod is not owner)'
                await cluster.event(pod, "Warning", "FailedBinding", said, "ephemeral_volume")
            continue
        metadata = {
            **copied(wish.get("metadata") or {}), "name": name, "namespace": key[0],
            "ownerReferences": [owner_reference(PODS, pod)],
        }  # fmt: skip
        await cluster.create(
            PERSISTENT_VOLUME_CLAIMS, {"metadata": metadata, "spec": copied(wish.get("spec") or {})}
        )
