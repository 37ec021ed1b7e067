"""Does a PersistentVolumeClaim have its volume? One that exists already, or a folder of this machine, made for it.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/
"""

from __future__ import annotations

from typing import NamedTuple

from skiff import objects
from skiff.api import Object
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.controllers.storage import fitting, provisioned
from skiff.errors import ApiError
from skiff.kinds import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES
from skiff.names import DEFAULT_CLASS, PROVISIONER
from skiff.objects import key_of

_PROTECTION = "kubernetes.io/pvc-protection"
_SOURCE = "persistentvolume-controller"


class Wait(NamedTuple):
    """Why a claim has no volume yet: an event's type, reason and message."""

    kind: str
    reason: str
    message: str


def controller(cluster: Cluster) -> Controller:
    """Claims, woken by volumes, classes and the pods that use them."""

    async def reconcile(key: Key) -> float | None:
        claim = cluster.informers[PERSISTENT_VOLUME_CLAIMS].get(*key)
        if claim is not None:
            await (_release if claim["metadata"].get("deletionTimestamp") else _bring)(cluster, claim)
        return None

    it = Controller("claims", reconcile, workers=1)
    it.follow(cluster, PERSISTENT_VOLUME_CLAIMS)

    def pod_changed(old: Object | None, new: Object | None) -> None:
        left = old is not None and (new is None or objects.finished(new))
        for pod in (new if old is None else None, old if left else None):
            for name in used(pod) if pod is not None else ():
                it.queue.add((pod["metadata"]["namespace"], name))  # type: ignore[index]  # a pod that uses it

    def storage_changed(_: Object | None, new: Object | None) -> None:
        for claim in cluster.informers[PERSISTENT_VOLUME_CLAIMS].objects.values() if new is not None else ():
            if (claim.get("status") or {}).get("phase") != "Bound":
                it.queue.add(key_of(claim))

    cluster.informers[PODS].listen(pod_changed)
    cluster.informers[PERSISTENT_VOLUMES].listen(storage_changed)
    cluster.informers[STORAGE_CLASSES].listen(storage_changed)
    return it


async def _bring(cluster: Cluster, claim: Object) -> None:
    held = claim["metadata"].get("finalizers") or []
    if _PROTECTION not in held:
        patch = {"metadata": {"finalizers": [*held, _PROTECTION]}}
        claim = await cluster.patch(PERSISTENT_VOLUME_CLAIMS, claim, patch)
    if claim["spec"].get("storageClassName") is None and (usual := usual_class(cluster)):
        name = usual["metadata"]["name"]
        claim = await cluster.patch(PERSISTENT_VOLUME_CLAIMS, claim, {"spec": {"storageClassName": name}})
    volume = await _volume(cluster, claim)
    if isinstance(volume, Wait):
        await cluster.status(PERSISTENT_VOLUME_CLAIMS, claim, {"phase": "Pending"})
        await cluster.event(claim, *volume, _SOURCE)
        return
    if volume is None:
        if (claim.get("status") or {}).get("phase") == "Bound":
            await cluster.status(PERSISTENT_VOLUME_CLAIMS, claim, {"phase": "Lost"})
            said = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            await cluster.event(claim, "Warning", "ClaimLost", said, _SOURCE)
        return
    await _bind(cluster, claim, volume)


async def _bind(cluster: Cluster, claim: Object, volume: Object) -> None:
    name = volume["metadata"]["name"]
    if claim["spec"].get("volumeName") != name:
        patch = {
            "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"volumeName": name},
        }
        claim = await cluster.patch(PERSISTENT_VOLUME_CLAIMS, claim, patch)
    spec = volume["spec"]
    wish = (claim["spec"].get("resources") or {}).get("requests") or {}
    ours = provisioned(volume)  # a folder has what was asked for, later too
    if ours and (spec.get("capacity") or {}) != wish:
        volume = await cluster.patch(PERSISTENT_VOLUMES, volume, {"spec": {"capacity": wish}})
    status = {
        "phase": "Bound", "accessModes": spec.get("accessModes") or ["ReadWriteOnce"],
        "capacity": wish if ours else spec.get("capacity") or {},
    }  # fmt: skip
    await cluster.status(PERSISTENT_VOLUME_CLAIMS, claim, status)


async def _volume(cluster: Cluster, claim: Object) -> Object | Wait | None:
    """The claim's volume, bound to it. None: it had one, which is gone."""
    volumes, uid = cluster.informers[PERSISTENT_VOLUMES], claim["metadata"]["uid"]
    if name := claim["spec"].get("volumeName"):
        named = volumes.get("", name)
        if named is None:
            return None if (claim.get("status") or {}).get("phase") == "Bound" else _missing(name)
        holder = named["spec"].get("claimRef") or {}
        if holder.get("uid") == uid:
            return named
        if not _meant(holder, claim):
            return Wait("Warning", "FailedBinding", f'volume "{name}" already bound to a different claim.')
        return await _take(cluster, named, claim)
    for it in sorted(volumes.objects.values(), key=lambda it: str(it["metadata"]["name"])):
        if (it["spec"].get("claimRef") or {}).get("uid") == uid:  # bound before this was written down
            return it
    fits = [it for it in volumes.objects.values() if _meant(it["spec"].get("claimRef") or {}, claim)]
    if found := fitting(claim, fits):
        return await _take(cluster, found, claim)
    return await _provision(cluster, claim)


def _missing(name: str) -> Wait:
    return Wait("Normal", "FailedBinding", f'persistentvolume "{name}" not found')


def _meant(holder: Object, claim: Object) -> bool:
    """Whether a volume is free, or kept for this claim."""
    metadata = claim["metadata"]
    if not holder:
        return True
    same = (holder.get("namespace"), holder.get("name")) == (metadata["namespace"], metadata["name"])
    return same and holder.get("uid") in (None, "", metadata["uid"])


async def _take(cluster: Cluster, volume: Object, claim: Object) -> Object:
    version = volume["metadata"]["resourceVersion"]  # two claims may want it at once
    patch = {"metadata": {"resourceVersion": version}, "spec": {"claimRef": _reference(claim)}}
    return await cluster.patch(PERSISTENT_VOLUMES, volume, patch)


def _reference(claim: Object) -> Object:
    metadata = claim["metadata"]
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": metadata["namespace"], "name": metadata["name"],
        "uid": metadata["uid"],
    }  # fmt: skip


async def _provision(cluster: Cluster, claim: Object) -> Object | Wait:
    name = claim["spec"].get("storageClassName")
    if not name:
        said = "no persistent volumes available for this claim and no storage class is set"
        return Wait("Normal", "FailedBinding", said)
    found = cluster.informers[STORAGE_CLASSES].get("", name)
    if found is None:
        return Wait("Warning", "ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found')
    if found["provisioner"] != PROVISIONER:
        said = f"Waiting for a volume to be created either by the external provisioner '{found['provisioner']}' or "
        said += "manually by the system administrator. If volume creation is delayed, please verify that the provisioner "
        return Wait("Normal", "ExternalProvisioning", said + "is running and correctly registered.")
    if claim["spec"].get("volumeMode") == "Block":
        said = f"{PROVISIONER} makes folders: a claim with volumeMode Block gets no volume"
        return Wait("Warning", "ProvisioningFailed", said)
    if claim["spec"].get("dataSource") or claim["spec"].get("dataSourceRef"):
        return Wait(
            "Warning", "ProvisioningFailed", f"{PROVISIONER} copies nothing: dataSource is not supported"
        )
    if found.get("volumeBindingMode") == "WaitForFirstConsumer" and not _wanted(cluster, claim):
        said = "waiting for first consumer to be created before binding"
        return Wait("Normal", "WaitForFirstConsumer", said)
    return await _create(cluster, claim, found)


async def _create(cluster: Cluster, claim: Object, found: Object) -> Object:
    name = f"pvc-{claim['metadata']['uid']}"
    path = f"{cluster.settings.volumes}/{name}"
    made: Object = {
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "accessModes": claim["spec"].get("accessModes") or ["ReadWriteOnce"],
            "capacity": (claim["spec"].get("resources") or {}).get("requests") or {},
            "persistentVolumeReclaimPolicy": found.get("reclaimPolicy") or "Delete",
            "storageClassName": found["metadata"]["name"], "volumeMode": "Filesystem", "claimRef": _reference(claim),
            "hostPath": {"path": path, "type": "DirectoryOrCreate"},
        },
    }  # fmt: skip
    try:
        volume = await cluster.create(PERSISTENT_VOLUMES, made)
    except ApiError as refused:
        if refused.reason != "AlreadyExists":
            raise
        volume = await cluster.api.get(PERSISTENT_VOLUMES, "", name)
    said = f"Successfully provisioned volume {name}"
    await cluster.event(claim, "Normal", "ProvisioningSucceeded", said, PROVISIONER)
    return volume


def usual_class(cluster: Cluster) -> Object | None:
    """The class of claims that name none: the newest that is marked so."""
    marked = [
        it for it in cluster.informers[STORAGE_CLASSES].objects.values()
        if (it["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"
    ]  # fmt: skip
    return max(
        marked, key=lambda it: (it["metadata"]["creationTimestamp"], it["metadata"]["name"]), default=None
    )


def waits(cluster: Cluster, claim: Object) -> bool:
    """Whether nothing that a pod does will get it a volume."""
    if (claim.get("status") or {}).get("phase") == "Bound":
        return False
    found = cluster.informers[STORAGE_CLASSES].get("", claim["spec"].get("storageClassName") or "")
    if claim["spec"].get("storageClassName") is None:
        found = usual_class(cluster)
    sort = claim["spec"].get("volumeMode", "Filesystem")
    copy = claim["spec"].get("dataSource") or claim["spec"].get("dataSourceRef")
    return found is None or found.get("provisioner") != PROVISIONER or sort == "Block" or bool(copy)


async def _release(cluster: Cluster, claim: Object) -> None:
    if not _wanted(cluster, claim):
        kept = [it for it in claim["metadata"].get("finalizers") or () if it != _PROTECTION]
        await cluster.patch(PERSISTENT_VOLUME_CLAIMS, claim, {"metadata": {"finalizers": kept}})


def _wanted(cluster: Cluster, claim: Object) -> bool:
    """Whether a pod that has not finished uses it."""
    namespace, name = key_of(claim)
    pods = cluster.informers[PODS].namespace(namespace)
    return any(name in used(it) for it in pods if not objects.finished(it))


def used(pod: Object) -> list[str]:
    """The claims of a pod, those made for it included."""
    found = []
    for it in pod["spec"].get("volumes") or ():
        if claim := it.get("persistentVolumeClaim"):
            found.append(claim["claimName"])
        elif it.get("ephemeral") is not None:
            found.append(f"{pod['metadata']['name']}-{it['name']}")
    return found
