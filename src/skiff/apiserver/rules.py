"""What must hold of an object beside its schema? Names that become paths, references inside it, what may never change.

The rules whose breach would do harm here: the validation of https://kubernetes.io/docs/reference/kubernetes-api/, in its words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from skiff.api import Object
from skiff.controllers.pods import matches
from skiff.kinds import (
    CLUSTER_ROLE_BINDINGS,
    CONFIG_MAPS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    REPLICA_SETS,
    ROLE_BINDINGS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    Kind,
)  # fmt: skip
from skiff.schema.walk import Problem

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_IMMUTABLE = "field is immutable"
#: Where the pods of a kind are described.
_PODS = {
    PODS: "spec", DEPLOYMENTS: "spec.template.spec", REPLICA_SETS: "spec.template.spec", STATEFUL_SETS: "spec.template.spec",
    DAEMON_SETS: "spec.template.spec", JOBS: "spec.template.spec", CRON_JOBS: "spec.jobTemplate.spec.template.spec",
}  # fmt: skip
_SELECTING = (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS)
#: Fields that keep their value from the first on.
_LASTING: dict[Kind, tuple[str, ...]] = {
    DEPLOYMENTS: ("spec.selector",), REPLICA_SETS: ("spec.selector",), DAEMON_SETS: ("spec.selector",),
    STATEFUL_SETS: ("spec.selector", "spec.serviceName", "spec.podManagementPolicy", "spec.volumeClaimTemplates"),
    JOBS: ("spec.selector", "spec.completionMode"), SECRETS: ("type",), ROLE_BINDINGS: ("roleRef",),
    CLUSTER_ROLE_BINDINGS: ("roleRef",), PERSISTENT_VOLUME_CLAIMS: ("spec.accessModes",),
}  # fmt: skip
_CHANGEABLE = ("image", "resources")
_POD_CHANGEABLE = (
    "activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates", "ephemeralContainers",
)  # fmt: skip


def broken(kind: Kind, new: Object, old: Object | None) -> Iterator[Problem]:
    """What is wrong with an object that fits its schema; ``old`` is what it replaces."""
    if place := _PODS.get(kind):
        spec = at(new, place) or {}
        yield from _pod(spec, place, _claims(kind, new))
        yield from _restart(kind, spec, place)
    if kind in _SELECTING:
        labels = (at(new, "spec.template.metadata") or {}).get("labels")
        if not matches(at(new, "spec.selector"), labels):
            said = f"Invalid value: {json.dumps(labels or {})}: `selector` does not match template `labels`"
            yield "FieldValueInvalid", said, "spec.template.metadata.labels"
    if kind is SERVICES:
        yield from _ports(new)
    if old is not None:
        yield from _changed(kind, new, old)


def _ports(service: Object) -> Iterator[Problem]:
    for index, it in enumerate(at(service, "spec.ports") or ()):
        for name in ("port", "targetPort", "nodePort"):
            number = it.get(name) or (0 if name == "port" else 1)
            if isinstance(number, int) and not 0 < number < 65536:
                said = f"Invalid value: {number}: must be between 1 and 65535, inclusive"
                yield "FieldValueInvalid", said, f"spec.ports[{index}].{name}"


def at(obj: Object, path: str) -> Any:
    """What lies at a path of names; None when it does not go that far."""
    found: Any = obj
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _claims(kind: Kind, obj: Object) -> set[str]:
    """The volumes that a StatefulSet's pods get besides."""
    templates = (at(obj, "spec.volumeClaimTemplates") or ()) if kind is STATEFUL_SETS else ()
    return {(it.get("metadata") or {}).get("name", "") for it in templates}


def _pod(spec: Object, place: str, claims: set[str]) -> Iterator[Problem]:
    if not spec.get("containers"):
        yield "FieldValueRequired", "Required value", f"{place}.containers"
    volumes = claims | {it.get("name", "") for it in spec.get("volumes") or ()}
    yield from _names(spec, place, ("volumes",))
    yield from _names(spec, place, ("containers", "initContainers"))
    for index, it in enumerate(spec.get("volumes") or ()):
        claim = (it.get("persistentVolumeClaim") or {}).get("claimName", "a")
        if not _NAME.fullmatch(claim):
            where = f"{place}.volumes[{index}].persistentVolumeClaim.claimName"
            yield "FieldValueInvalid", f'Invalid value: "{claim}": must be the name of a claim', where
    for part in ("containers", "initContainers"):
        for index, it in enumerate(spec.get(part) or ()):
            yield from _mounts(it, f"{place}.{part}[{index}].volumeMounts", volumes)


def _names(spec: Object, place: str, parts: tuple[str, ...]) -> Iterator[Problem]:
    """Of containers and volumes: they are names of folders too."""
    seen: set[str] = set()
    for part in parts:
        for index, it in enumerate(spec.get(part) or ()):
            name, where = str(it.get("name", "")), f"{place}.{part}[{index}].name"
            if not _LABEL.fullmatch(name):
                said = f'Invalid value: "{name}": a lowercase RFC 1123 label must consist of lower case alphanumeric characters'
                said += " or '-', and must start and end with an alphanumeric character"
                yield "FieldValueInvalid", said, where
            elif name in seen:
                yield "FieldValueDuplicate", f'Duplicate value: "{name}"', where
            seen.add(name)


def _mounts(container: Object, place: str, volumes: set[str]) -> Iterator[Problem]:
    paths: set[str] = set()
    for index, it in enumerate(container.get("volumeMounts") or ()):
        where = f"{place}[{index}]"
        if it.get("name") not in volumes:
            yield "FieldValueNotFound", f'Not found: "{it.get("name")}"', f"{where}.name"
        if it.get("mountPath") in paths:
            said = f'Invalid value: "{it.get("mountPath")}": must be unique'
            yield "FieldValueInvalid", said, f"{where}.mountPath"
        paths.add(it.get("mountPath", ""))
        for field in ("subPath", "subPathExpr"):
            path = it.get(field) or ""
            if path.startswith("/") or ".." in path.split("/"):
                said = f'Invalid value: "{path}": must be a relative path without ".."'
                yield "FieldValueInvalid", said, f"{where}.{field}"


def _restart(kind: Kind, spec: Object, place: str) -> Iterator[Problem]:
    said, where = spec.get("restartPolicy"), f"{place}.restartPolicy"
    if kind in (JOBS, CRON_JOBS) and said not in ("OnFailure", "Never"):
        yield "FieldValueRequired", 'Required value: valid values: "OnFailure", "Never"', where
    elif kind in _SELECTING and said != "Always":
        yield "FieldValueNotSupported", f'Unsupported value: "{said}": supported values: "Always"', where


def _changed(kind: Kind, new: Object, old: Object) -> Iterator[Problem]:
    for path in _LASTING.get(kind, ()):
        if at(new, path) != at(old, path):
            yield "FieldValueInvalid", f"Invalid value: {_IMMUTABLE}", path
    if kind is PERSISTENT_VOLUME_CLAIMS:
        before, after = at(old, "spec.storageClassName"), at(new, "spec.storageClassName")
        if before not in (None, after):  # one that was left out is filled in later
            yield "FieldValueInvalid", f"Invalid value: {_IMMUTABLE}", "spec.storageClassName"
    if kind is PODS and _fixed(new["spec"], old["spec"]) != _fixed(old["spec"], old["spec"]):
        said = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        said += "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.terminationGracePeriodSeconds`,"
        yield "FieldValueForbidden", f"{said}`spec.tolerations`", "spec"
    if kind is JOBS and not at(old, "spec.suspend") and at(new, "spec.template") != at(old, "spec.template"):
        yield "FieldValueInvalid", f"Invalid value: {_IMMUTABLE}", "spec.template"
    if kind in (SECRETS, CONFIG_MAPS) and old.get("immutable"):
        for part in ("immutable", "data", "binaryData"):
            if new.get(part) != old.get(part):
                yield "FieldValueForbidden", f"Forbidden: {_IMMUTABLE} when `immutable` is set", part
    if kind is SERVICES and "ExternalName" not in (at(new, "spec.type"), at(old, "spec.type")):
        before, after = at(old, "spec.clusterIP"), at(new, "spec.clusterIP")
        if before and before != after:
            said = f'Invalid value: ["{after}"]: may not change once set'
            yield "FieldValueInvalid", said, "spec.clusterIPs[0]"


def _fixed(spec: Object, old: Object) -> Object:
    """What of a pod's spec may not change; its node is named once."""
    kept = {name: it for name, it in spec.items() if name not in _POD_CHANGEABLE}
    for part in ("containers", "initContainers"):
        kept[part] = [
            {name: it for name, it in container.items() if name not in _CHANGEABLE}
            for container in spec.get(part) or ()
        ]
    return kept if old.get("nodeName") else {**kept, "nodeName": None}
