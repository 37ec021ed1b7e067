"""What may volumes, claims and storage classes be?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skiff.api import Object
from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.metadata import selector
from skiff.validation.problems import (
    each,
    entries,
    forbidden,
    invalid,
    one_of,
    part,
    required,
    text,
    texts,
    unsupported,
)  # fmt: skip
from skiff.validation.resources import amount, quantity

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_POLICIES = ("Delete", "Recycle", "Retain")
_CLAIM_SAID = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
_GROWING = ("resources", "volumeAttributesClassName", "volumeName")


def claim(obj: Object, old: Object | None) -> Iterator[Problem]:
    """A PersistentVolumeClaim."""
    spec = part(obj, "spec")
    yield from claim_spec(spec, "spec")
    if old is None:
        return
    before = part(old, "spec")
    named = bool(before.get("volumeName"))
    rest = _but(spec, named), _but(before, named)
    if rest[0] != rest[1]:
        if rest[0].get("storageClassName") != rest[1].get("storageClassName") and not rest[1].get(
            "storageClassName"
        ):
            rest[0].pop("storageClassName", None)  # a default class may come late
        if rest[0] != rest[1]:
            yield forbidden("spec", _CLAIM_SAID)
    wants, had = (amount(part(part(it, "resources"), "requests").get("storage")) for it in (spec, before))
    if wants is not None and had is not None and wants < had:
        said = "field can not be less than status.capacity"
        yield forbidden("spec.resources.requests.storage", said)


def _but(spec: dict[str, Any], named: bool) -> dict[str, Any]:
    left_out = ("resources", "volumeAttributesClassName") if named else _GROWING
    return {name: it for name, it in spec.items() if name not in left_out and it is not None}


def claim_spec(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    """Of a claim, of a StatefulSet's templates and of an ephemeral volume."""
    yield from _modes(spec, path, "at least 1 access mode is required")
    wanted = part(part(spec, "resources"), "requests")
    where = f"{path}.resources[storage]"
    if wanted.get("storage") is None:
        yield required(where)
    else:
        yield from quantity(where, wanted["storage"], positive=True)
    if isinstance(spec.get("selector"), dict):
        yield from selector(spec["selector"], f"{path}.selector")
    yield from _class_name(spec, path)


def _class_name(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    if name := text(spec, "storageClassName"):
        yield from each(f"{path}.storageClassName", name, names.subdomain(name))
    yield from one_of(f"{path}.volumeMode", spec.get("volumeMode"), ("Block", "Filesystem"))


def _modes(spec: dict[str, Any], path: str, said: str) -> Iterator[Problem]:
    modes = texts(spec, "accessModes")
    if not modes:
        yield required(f"{path}.accessModes", said)
    for it in modes:
        yield from one_of(f"{path}.accessModes", it, _MODES, needed=True)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        said = "may not use ReadWriteOncePod with other access modes"
        yield forbidden(f"{path}.accessModes", said)


def volume(obj: Object, old: Object | None) -> Iterator[Problem]:
    """A PersistentVolume."""
    from skiff.validation.placement import node_selector
    from skiff.validation.volumes import host_path  # volumes look into claims themselves

    spec = part(obj, "spec")
    yield from _modes(spec, "spec", "")
    capacity = part(spec, "capacity")
    if not capacity:
        yield required("spec.capacity")
    elif "storage" not in capacity or len(capacity) > 1:
        yield unsupported("spec.capacity", capacity, ("storage",))
    for key, it in capacity.items():
        yield from quantity(f"spec.capacity[{key}]", it, positive=True)
    given = [field for field in _VOLUME_SOURCES if isinstance(spec.get(field), dict)]
    if not given:
        yield required("spec", "must specify a volume type")
    for field in given[1:]:
        yield forbidden(f"spec.{field}", "may not specify more than 1 volume type")
    if given[:1] == ["hostPath"]:
        yield from host_path(spec["hostPath"], "spec.hostPath")
        if text(spec["hostPath"], "path") == "/" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            said = "may not be 'recycle' for a hostPath mount of '/'"
            yield forbidden("spec.persistentVolumeReclaimPolicy", said)
    policy = spec.get("persistentVolumeReclaimPolicy")
    yield from one_of("spec.persistentVolumeReclaimPolicy", policy, _POLICIES)
    yield from _class_name(spec, "spec")
    needed = part(part(spec, "nodeAffinity"), "required")
    if isinstance(spec.get("nodeAffinity"), dict):
        yield from node_selector(needed, "spec.nodeAffinity.required")
    elif given[:1] == ["local"]:
        yield required("spec.nodeAffinity", "Local volume requires node affinity")
    if old is not None and any(spec.get(it) != part(old, "spec").get(it) for it in _VOLUME_SOURCES):
        yield forbidden(
            "spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation"
        )


_VOLUME_SOURCES = (
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker",
    "gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk", "portworxVolume",
    "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
)  # fmt: skip


def storage_class(obj: Object, old: Object | None) -> Iterator[Problem]:
    provisioner = text(obj, "provisioner")
    if not provisioner:
        yield required("provisioner")
    else:
        yield from each("provisioner", provisioner.lower(), names.qualified(provisioner.lower()))
    parameters = part(obj, "parameters")
    if len(parameters) > 512:
        yield "FieldValueTooLong", "Too long: may not be more than 512 bytes", "parameters"
    if any(not key for key in parameters):
        yield invalid("parameters", "", "field can not be empty")
    yield from one_of("reclaimPolicy", obj.get("reclaimPolicy"), ("Delete", "Retain"), needed=True)
    binding = obj.get("volumeBindingMode")
    yield from one_of("volumeBindingMode", binding, ("Immediate", "WaitForFirstConsumer"), needed=True)
    for where, it in entries(obj, "allowedTopologies", ""):
        for place, one in entries(it, "matchLabelExpressions", where):
            yield from each(f"{place}.key", text(one, "key"), names.qualified(text(one, "key")))
            if not texts(one, "values"):
                yield required(f"{place}.values")
    if old is None:
        return
    for field in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
        if (obj.get(field) or None) != (old.get(field) or None):
            yield forbidden(field, "updates to " + field + " are forbidden.")
