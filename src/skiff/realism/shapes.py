"""Which fields does a real API server write as null or empty, where skiff leaves them out?

It is written in Go, whose JSON has every field of a struct that is not marked "omitempty": a list that nobody has filled is
null then. The types: https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

from typing import Any

#: What is added to an object of a kind where it is missing: path, value.
_ADDED: dict[str, tuple[tuple[tuple[str, ...], Any], ...]] = {
    "Role": ((("rules",), None),),
    "ClusterRole": ((("rules",), None),),
    "EndpointSlice": ((("endpoints",), None), (("ports",), None)),
    "Service": ((("status", "loadBalancer"), {}),),
    "Deployment": ((("spec", "template", "metadata", "creationTimestamp"), None), (("status",), {})),
    "ReplicaSet": (
        (("spec", "template", "metadata", "creationTimestamp"), None),
        (("status", "replicas"), 0),
    ),
    "StatefulSet": (
        (("spec", "template", "metadata", "creationTimestamp"), None),
        (("status", "replicas"), 0),
    ),
    "DaemonSet": ((("spec", "template", "metadata", "creationTimestamp"), None), (("status",), {})),
    "Job": ((("spec", "template", "metadata", "creationTimestamp"), None), (("status",), {})),
    "CronJob": ((("spec", "jobTemplate", "metadata", "creationTimestamp"), None), (("status",), {})),
    "CustomResourceDefinition": ((("status", "conditions"), None), (("status", "storedVersions"), None)),
    "PodDisruptionBudget": ((("status",), {}),),
    "HorizontalPodAutoscaler": ((("status", "currentMetrics"), None), (("status", "desiredReplicas"), 0)),
}
_MISSING = object()


def real(obj: Any) -> Any:
    """An object, or a list of some, as a real server writes it. The input is not changed."""
    if not isinstance(obj, dict):
        return obj
    if isinstance(items := obj.get("items"), list):
        kind = str(obj.get("kind", "")).removesuffix("List")
        return {**obj, "items": [_one(it, kind) for it in items]}
    return _one(obj, str(obj.get("kind", "")))


def _one(obj: Any, kind: str) -> Any:
    if not isinstance(obj, dict):
        return obj
    for path, value in _ADDED.get(kind, ()):
        obj = _with(obj, path, value)
    if kind == "Pod" and isinstance(conditions := (obj.get("status") or {}).get("conditions"), list):
        told = [{"lastProbeTime": None, "lastTransitionTime": None, **it} for it in conditions]
        obj = {**obj, "status": {**obj["status"], "conditions": told}}
    return obj


def _with(obj: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """With a value at a path where nothing is; as it was where the way there is something else."""
    name, *rest = path
    before = obj.get(name, _MISSING)
    if not rest:
        return {**obj, name: value} if before is _MISSING else obj
    if before is _MISSING or before is None:
        before = {}
    return {**obj, name: _with(before, tuple(rest), value)} if isinstance(before, dict) else obj
