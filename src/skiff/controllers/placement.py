"""May a pod run on a node? Selectors, affinity, taints and room. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from skiff.api import Object
from skiff.node.environment import quantity

_HARD = ("NoSchedule", "NoExecute")


def described(node: Object | None) -> Any:
    """What of a node matters here: not its heartbeat."""
    if node is None:
        return None
    status = node.get("status") or {}
    return (node["metadata"].get("labels"), node.get("spec"), status.get("allocatable"))


def obstacles(pod: Object, node: Object) -> list[str]:
    """Why the pod may not run there, in the words of kube-scheduler, without regard to other pods."""
    spec, labels = pod["spec"], node["metadata"].get("labels") or {}
    found = []
    if not (spec.get("nodeSelector") or {}).items() <= labels.items() or not _affine(spec, node):
        found.append("node(s) didn't match Pod's node affinity/selector")
    taints = list((node.get("spec") or {}).get("taints") or ())
    if (node.get("spec") or {}).get("unschedulable"):
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    for taint in taints:
        tolerated = any(_tolerates(it, taint) for it in spec.get("tolerations") or ())
        if taint.get("effect") in _HARD and not tolerated:
            unschedulable = taint["key"] == "node.kubernetes.io/unschedulable"
            told = f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
            found.append("node(s) were unschedulable" if unschedulable else told)
    return found


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return bool(toleration.get("key") == taint["key"]) and toleration.get("value", "") == taint.get(
        "value", ""
    )


def _affine(spec: Object, node: Object) -> bool:
    wish = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    terms = (wish or {}).get("nodeSelectorTerms") or ()
    return not wish or any(_term(it, node) for it in terms)


def _term(term: Object, node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    return all(_meets(it, labels) for it in term.get("matchExpressions") or ()) and all(
        _meets(it, fields) for it in term.get("matchFields") or ()
    )


def _meets(expression: Object, labels: dict[str, str]) -> bool:
    held, values = labels.get(expression.get("key", "")), expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return held in values
        case "NotIn":
            return held not in values
        case "Exists":
            return held is not None
        case "DoesNotExist":
            return held is None
        case "Gt" | "Lt" as word:
            if held is None or not held.isdigit() or not values:
                return False
            return int(held) > int(values[0]) if word == "Gt" else int(held) < int(values[0])
        case _:
            return False


def shortages(pod: Object, others: Iterable[Object], node: Object) -> list[str]:
    """What there is too little of, beside the pods that are there already."""
    room = (node.get("status") or {}).get("allocatable") or {}
    there = list(others)
    found = ["Too many pods"] if len(there) >= int(room.get("pods", "250")) else []
    for resource in ("cpu", "memory"):
        asked = requested(pod, resource)
        used = sum(requested(it, resource) for it in there)
        if resource in room and asked and used + asked > quantity(str(room[resource])) + 1e-9:
            found.append(f"Insufficient {resource}")
    return found


def requested(pod: Object, resource: str) -> float:
    """What a pod asks for: its containers and sidecars together, or more when an init container needs more."""
    lasting = sum(_request(it, resource) for it in pod["spec"].get("containers") or ())
    most = 0.0
    sidecars = 0.0
    for it in pod["spec"].get("initContainers") or ():
        if it.get("restartPolicy") == "Always":
            sidecars += _request(it, resource)
        else:
            most = max(most, sidecars + _request(it, resource))
    return max(lasting + sidecars, most)


def _request(container: Object, resource: str) -> float:
    said = container.get("resources") or {}
    value = (said.get("requests") or {}).get(resource) or (said.get("limits") or {}).get(resource)
    return quantity(str(value)) if value else 0.0
