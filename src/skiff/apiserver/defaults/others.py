"""Defaults of configuration, storage, rights and what extends the API."""

from __future__ import annotations

import base64

from skiff.api import Object
from skiff.apiserver.defaults.parts import dicts, inside, part, put

_RBAC = "rbac.authorization.k8s.io"


def secret(obj: Object) -> None:
    put(obj, type="Opaque")
    if isinstance(texts := obj.pop("stringData", None), dict) and texts:
        data = part(obj, "data")
        data.update({key: base64.b64encode(str(text).encode()).decode() for key, text in texts.items()})


def binding(obj: Object) -> None:
    put(part(obj, "roleRef"), apiGroup=_RBAC)
    for subject in dicts(obj.get("subjects")):
        put(subject, apiGroup="" if subject.get("kind") == "ServiceAccount" else _RBAC)
        if not subject["apiGroup"]:
            del subject["apiGroup"]


def webhooks(obj: Object) -> None:
    for hook in dicts(obj.get("webhooks")):
        put(
            hook,
            failurePolicy="Fail",
            matchPolicy="Equivalent",
            timeoutSeconds=10,
            namespaceSelector={},
            objectSelector={},
        )
        if obj.get("kind") == "MutatingWebhookConfiguration":
            put(hook, reinvocationPolicy="Never")
        for rule in dicts(hook.get("rules")):
            put(rule, scope="*")
        if service := inside(hook, "clientConfig", "service"):
            put(service, port=443)


def definition(obj: Object) -> None:
    spec = part(obj, "spec")
    names = part(spec, "names")
    kind = str(names.get("kind", ""))
    put(names, singular=kind.lower(), listKind=f"{kind}List")
    put(spec, conversion={"strategy": "None"})
    if service := inside(spec, "conversion", "webhook", "clientConfig", "service"):
        put(service, port=443)


def claim(obj: Object) -> None:
    put(part(obj, "spec"), volumeMode="Filesystem")
    put(part(obj, "status"), phase="Pending")


def volume(obj: Object) -> None:
    spec = part(obj, "spec")
    put(spec, volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")
    if isinstance(path := spec.get("hostPath"), dict):
        put(path, type="")
    put(part(obj, "status"), phase="Pending")


def storage_class(obj: Object) -> None:
    put(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def priority_class(obj: Object) -> None:
    put(obj, preemptionPolicy="PreemptLowerPriority")


def limit_range(obj: Object) -> None:
    """A container without wishes of its own gets the most as its limit, and that as its request."""
    for it in dicts(inside(obj, "spec").get("limits")):
        if it.get("type") != "Container":
            continue
        most, least = inside(it, "max"), inside(it, "min")
        limits = {**most, **inside(it, "default")}
        requests = {**least, **limits, **inside(it, "defaultRequest")}
        for field, value in (("default", limits), ("defaultRequest", requests)):
            if value:
                it[field] = value
