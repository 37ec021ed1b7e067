"""What may a container say? https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Container"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.probes import lifecycle, probes
from skiff.validation.problems import (
    between,
    duplicate,
    each,
    entries,
    forbidden,
    invalid,
    listed,
    missing,
    one_of,
    part,
    required,
    text,
    unsupported,
)  # fmt: skip
from skiff.validation.resources import requirements
from skiff.validation.security import container_context

PROTOCOLS = ("SCTP", "TCP", "UDP")
_EVERYWHERE = {
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
}  # fmt: skip
_RESOURCES = {
    f"{kind}.{it}" for kind in ("limits", "requests") for it in ("cpu", "memory", "ephemeral-storage")
}
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
#: What an ephemeral container has not.
_EARLY = (
    "ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources", "resizePolicy", "restartPolicy",
    "restartPolicyRules",
)  # fmt: skip
_NO_LATE = "cannot be set for an Ephemeral Container"


@dataclass(frozen=True, slots=True)
class Pod:
    """What of a pod its containers depend on."""

    volumes: frozenset[str]
    host_network: bool = False
    #: In a template the port of the host may be left out: it is filled in when the pod is made.
    template: bool = False
    grace_s: int = 30
    users: bool = True
    #: Those which an ephemeral container may name as its target.
    containers: frozenset[str] = frozenset()


def container(it: dict[str, Any], path: str, pod: Pod, sort: str) -> Iterator[Problem]:
    """One of a pod's ``containers``, ``initContainers`` or ``ephemeralContainers``, as ``sort`` says."""
    yield from _image(it, path)
    yield from ports(it, path, pod)
    yield from environment(it, path)
    yield from _mounts(it, path, pod.volumes)
    yield from requirements(part(it, "resources"), f"{path}.resources")
    yield from container_context(part(it, "securityContext"), f"{path}.securityContext", users=pod.users)
    sidecar = text(it, "restartPolicy") == "Always"
    if sort == "ephemeralContainers":
        yield from _late(it, path, pod)
    elif sort == "initContainers" and not sidecar:
        said = "may not be set for init containers without restartPolicy=Always"
        fields = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
        yield from (forbidden(f"{path}.{field}", said) for field in fields if it.get(field) is not None)
    else:
        yield from probes(it, path)
        yield from lifecycle(it, path, pod.grace_s)
    yield from one_of(f"{path}.restartPolicy", it.get("restartPolicy"), ("Always", "Never", "OnFailure"))


def _late(it: dict[str, Any], path: str, pod: Pod) -> Iterator[Problem]:
    """Nobody may rely on a container that came later: it serves nothing and is not restarted."""
    yield from (forbidden(f"{path}.{field}", _NO_LATE) for field in _EARLY if it.get(field))
    target = text(it, "targetContainerName")
    if target and target not in pod.containers:
        yield missing(f"{path}.targetContainerName", target)
    for where, mount in entries(it, "volumeMounts", path):
        for field in ("subPath", "subPathExpr"):
            if mount.get(field):
                yield forbidden(f"{where}.{field}", _NO_LATE)


def _image(it: dict[str, Any], path: str) -> Iterator[Problem]:
    image = text(it, "image")
    if not image:
        yield required(f"{path}.image")
    elif image != image.strip():
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    yield from one_of(
        f"{path}.imagePullPolicy", it.get("imagePullPolicy"), ("Always", "IfNotPresent", "Never")
    )
    policy = it.get("terminationMessagePolicy")
    yield from one_of(f"{path}.terminationMessagePolicy", policy, ("FallbackToLogsOnError", "File"))


def ports(it: dict[str, Any], path: str, pod: Pod) -> Iterator[Problem]:
    seen: set[str] = set()
    for where, port in entries(it, "ports", path):
        if name := text(port, "name"):
            wrong = list(names.port_name(name))
            yield from each(f"{where}.name", name, wrong)
            if not wrong and name in seen:
                yield duplicate(f"{where}.name", name)
            seen.add(name)
        number, of_host = port.get("containerPort"), port.get("hostPort") or 0
        if not number:
            yield required(f"{where}.containerPort")
        yield from between(f"{where}.containerPort", number or 1, 1, 65535)
        yield from between(f"{where}.hostPort", of_host or 1, 1, 65535)
        if pod.host_network and of_host != number and (of_host or not pod.template):
            said = "must match `containerPort` when `hostNetwork` is true"
            yield invalid(f"{where}.hostPort", of_host, said)
        yield from one_of(f"{where}.protocol", port.get("protocol"), PROTOCOLS)
        if address := text(port, "hostIP"):
            yield from each(f"{where}.hostIP", address, names.address(address))


def environment(it: dict[str, Any], path: str) -> Iterator[Problem]:
    """``env`` and ``envFrom``."""
    for where, entry in entries(it, "env", path):
        name = text(entry, "name")
        if not name:
            yield required(f"{where}.name")
        else:
            yield from each(f"{where}.name", name, names.variable(name))
        if isinstance(entry.get("valueFrom"), dict):
            yield from _value_from(entry, f"{where}.valueFrom")
    for where, entry in entries(it, "envFrom", path):
        if prefix := text(entry, "prefix"):
            yield from each(f"{where}.prefix", prefix, names.variable(prefix))
        given = [field for field in ("configMapRef", "secretRef") if isinstance(entry.get(field), dict)]
        if not given:
            yield invalid(where, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(given) > 1:
            yield invalid(where, "", "may not have more than one field specified at a time")
        for field in given:
            name = text(entry[field], "name")
            if not name:
                yield required(f"{where}.{field}.name")
            else:
                yield from each(f"{where}.{field}.name", name, names.subdomain(name))


def _value_from(entry: dict[str, Any], path: str) -> Iterator[Problem]:
    source = part(entry, "valueFrom")
    given = [field for field in _SOURCES if isinstance(source.get(field), dict)]
    if not given:
        listed_ = ", ".join(f"`{it}`" for it in _SOURCES[:-1])
        yield invalid(path, "", f"must specify one of: {listed_} or `{_SOURCES[-1]}`")
    elif text(entry, "value"):
        yield invalid(path, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield invalid(path, "", "may not have more than one field specified at a time")
    for field in given:
        it, where = source[field], f"{path}.{field}"
        if field == "fieldRef":
            yield from field_ref(it, where)
        elif field == "resourceFieldRef":
            yield from resource_ref(it, where)
        elif field != "fileKeyRef":
            yield from _key_ref(it, where)


def _key_ref(it: dict[str, Any], path: str) -> Iterator[Problem]:
    if not text(it, "name"):
        yield required(f"{path}.name")
    if not (key := text(it, "key")):
        yield required(f"{path}.key")
    else:
        yield from each(f"{path}.key", key, names.key(key))


def field_ref(
    it: dict[str, Any], path: str, known: frozenset[str] | set[str] = frozenset(_EVERYWHERE)
) -> Iterator[Problem]:
    """The downward API: which of its own fields a pod may read."""
    found = text(it, "fieldPath")
    if not found:
        yield required(f"{path}.fieldPath")
        return
    base, bracket, key = found.partition("[")
    if bracket and base in ("metadata.labels", "metadata.annotations"):
        key = key.removesuffix("]").strip("'\"")
        yield from each(
            f"{path}.fieldPath", key, names.qualified(key if base.endswith("labels") else key.lower())
        )
    elif found not in _EVERYWHERE and found not in known:
        said = f"error converting fieldPath: field label not supported: {found}"
        yield invalid(f"{path}.fieldPath", found, said)
    elif found not in known:
        yield unsupported(f"{path}.fieldPath", found, known)


def resource_ref(it: dict[str, Any], path: str, *, volume: bool = False) -> Iterator[Problem]:
    """``limits.cpu`` of a container."""
    if volume and not text(it, "containerName"):
        yield required(f"{path}.containerName")
    resource = text(it, "resource")
    if not resource:
        yield required(f"{path}.resource")
    elif resource not in _RESOURCES and ".hugepages-" not in resource:
        yield unsupported(f"{path}.resource", resource, _RESOURCES)


def _mounts(it: dict[str, Any], path: str, volumes: frozenset[str]) -> Iterator[Problem]:
    taken = {text(device, "devicePath") for _, device in entries(it, "volumeDevices", path)}
    seen: set[str] = set()
    for where, mount in entries(it, "volumeMounts", path):
        name, place = text(mount, "name"), text(mount, "mountPath")
        if not name:
            yield required(f"{where}.name")
        elif name not in volumes:
            yield missing(f"{where}.name", name)
        if not place:
            yield required(f"{where}.mountPath")
        if place in seen:
            yield invalid(f"{where}.mountPath", place, "must be unique")
        if place in taken:
            yield invalid(f"{where}.mountPath", place, "must not already exist in volumeDevices")
        seen.add(place)
        yield from _sub_path(mount, where)
        spread = text(mount, "mountPropagation")
        yield from one_of(f"{where}.mountPropagation", spread, ("Bidirectional", "HostToContainer", "None"))
        if spread == "Bidirectional" and not part(it, "securityContext").get("privileged"):
            said = "Bidirectional mount propagation is available only to privileged containers"
            yield forbidden(f"{where}.mountPropagation", said)


def _sub_path(mount: dict[str, Any], path: str) -> Iterator[Problem]:
    for field in ("subPath", "subPathExpr"):
        if found := text(mount, field):
            yield from inner_path(f"{path}.{field}", found)
    if text(mount, "subPath") and text(mount, "subPathExpr"):
        yield invalid(
            f"{path}.subPathExpr",
            text(mount, "subPathExpr"),
            "subPathExpr and subPath are mutually exclusive",
        )


def inner_path(path: str, value: str) -> Iterator[Problem]:
    """A path that must not lead out of its folder."""
    if value.startswith("/"):
        yield invalid(path, value, "must be a relative path")
    if ".." in value.split("/"):
        yield invalid(path, value, "must not contain '..'")


def host_ports(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    """No two containers may want one port of the host."""
    seen: set[str] = set()
    for where, it in entries(spec, "containers", path):
        for inner, port in entries(it, "ports", where):
            if number := port.get("hostPort"):
                wanted = f"{port.get('protocol') or 'TCP'}/{port.get('hostIP') or ''}/{number}"
                if wanted in seen:
                    yield duplicate(f"{inner}.hostPort", wanted)
                seen.add(wanted)


def names_of(spec: dict[str, Any], field: str) -> list[str]:
    return [text(it, "name") for it in listed(spec, field)]
