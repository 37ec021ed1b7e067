"""Defaults of pods, also of those in templates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skiff.api import Object
from skiff.apiserver.defaults.parts import dicts, inside, part, put

_SORTS = ("containers", "initContainers", "ephemeralContainers")


def pod(obj: Object) -> None:
    spec = part(obj, "spec")
    pod_spec(spec)
    put(spec, serviceAccountName=spec.get("serviceAccount") or "default", enableServiceLinks=True)
    spec["serviceAccount"] = spec["serviceAccountName"]
    for it in _containers(spec):
        limits = inside(it, "resources", "limits")
        if limits:
            it["resources"]["requests"] = {**limits, **inside(it, "resources", "requests")}
        if spec.get("hostNetwork"):
            for port in dicts(it.get("ports")):
                port["hostPort"] = port.get("hostPort") or port.get("containerPort")
    put(part(obj, "status"), phase="Pending", qosClass=_quality(spec))


def pod_spec(spec: dict[str, Any]) -> None:
    """Defaults of a pod, also inside templates."""
    put(
        spec, restartPolicy="Always", dnsPolicy="ClusterFirst", terminationGracePeriodSeconds=30, securityContext={},
        schedulerName="default-scheduler",
    )  # fmt: skip
    for container in _containers(spec):
        _container(container)
    for volume in dicts(spec.get("volumes")):
        _volume(volume)


def _containers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for sort in _SORTS:
        yield from dicts(spec.get(sort))


def _container(it: dict[str, Any]) -> None:
    image = str(it.get("image", ""))
    newest = image.endswith(":latest") or (":" not in image.rpartition("/")[2] and "@" not in image)
    put(
        it, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File", resources={},
        imagePullPolicy="Always" if newest else "IfNotPresent",
    )  # fmt: skip
    for port in dicts(it.get("ports")):
        put(port, protocol="TCP")
    for entry in dicts(it.get("env")):
        _field(inside(entry, "valueFrom"))
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(probe := it.get(name), dict):
            put(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            _http(probe.get("httpGet"))
            if isinstance(grpc := probe.get("grpc"), dict):
                put(grpc, service="")
    for hook in inside(it, "lifecycle").values():
        if isinstance(hook, dict):
            _http(hook.get("httpGet"))


def _http(get: Any) -> None:
    if isinstance(get, dict):
        put(get, path="/", scheme="HTTP")


def _field(source: dict[str, Any]) -> None:
    """Of the downward API."""
    if isinstance(field := source.get("fieldRef"), dict):
        put(field, apiVersion="v1")
    if isinstance(resource := source.get("resourceFieldRef"), dict):
        put(resource, divisor="0")


def _volume(it: dict[str, Any]) -> None:
    if not any(isinstance(value, dict) for value in it.values()):
        it["emptyDir"] = {}
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        if isinstance(it.get(source), dict):
            put(it[source], defaultMode=0o644)
    for item in dicts(inside(it, "downwardAPI").get("items")):
        _field(item)
    for one in dicts(inside(it, "projected").get("sources")):
        if isinstance(token := one.get("serviceAccountToken"), dict):
            put(token, expirationSeconds=3600)
        for item in dicts(inside(one, "downwardAPI").get("items")):
            _field(item)
    if isinstance(it.get("hostPath"), dict):
        put(it["hostPath"], type="")


def _quality(spec: dict[str, Any]) -> str:
    wishes = [
        inside(it, "resources") for sort in ("containers", "initContainers") for it in dicts(spec.get(sort))
    ]
    if not any(it.get("requests") or it.get("limits") for it in wishes):
        return "BestEffort"
    exact = all(
        {"cpu", "memory"} <= set(it.get("limits") or {})
        and (it.get("requests") or it["limits"]) == it["limits"]
        for it in wishes
    )
    return "Guaranteed" if exact else "Burstable"
