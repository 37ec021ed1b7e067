"""May a pod run on a node? Selectors, node affinity, taints and room. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from skiff.api import Object
from skiff.quantities import parse

_HARD = ("NoSchedule", "NoExecute")
#: What pods share as well as they can where nobody gave the node a size.
_SHARED = ("cpu", "memory", "ephemeral-storage")


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
    taints = list((node.get("spec") or {}).get("taints") or ())
    if (node.get("spec") or {}).get("unschedulable"):
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    for taint in taints:
        tolerated = any(tolerates(it, taint) for it in spec.get("tolerations") or ())
        if taint.get("effect") in _HARD and not tolerated:
            unschedulable = taint["key"] == "node.kubernetes.io/unschedulable"
            told = f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
            found.append("node(s) were unschedulable" if unschedulable else told)
    if not (spec.get("nodeSelector") or {}).items() <= labels.items() or not _affine(spec, node):
        found.append("node(s) didn't match Pod's node affinity/selector")
    return found


def tolerates(toleration: Object, taint: Object) -> bool:
    """Whether a pod that bears the toleration bears the taint."""
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


def shortages(pod: Object, asked: Mapping[str, int], count: int, node: Object, *, bounded: bool) -> list[str]:
    """What there is too little of, beside what ``count`` pods ask for already (in thousandths, as ``requests``).

    CPU and memory count where the node was given a size (``bounded``); the number of pods, and what the node does not have
    at all, always.
    """
    room = (node.get("status") or {}).get("allocatable") or {}
    found = ["Too many pods"] if count >= int(room.get("pods", "250")) else []
    for resource, wish in requests(pod).items():
        if resource in _SHARED and not (bounded and resource in room):
            continue
        if wish and asked.get(resource, 0) + wish > _thousandths(room.get(resource, 0)):
            found.append(f"Insufficient {resource}")
    return found


def requests(pod: Object) -> dict[str, int]:
    """What a pod asks for, in thousandths: containers and sidecars together, or more when an init container needs it.

    What the whole pod asks for goes before that of its containers; its overhead comes on top.
    """
    spec = pod["spec"]
    lasting: Counter[str] = Counter()
    most: dict[str, int] = {}
    for it in spec.get("initContainers") or ():
        own = _request(it)
        if it.get("restartPolicy") == "Always":
            lasting.update(own)
            own = {}
        for resource in {*own, *lasting}:
            most[resource] = max(most.get(resource, 0), lasting[resource] + own.get(resource, 0))
    for it in spec.get("containers") or ():
        lasting.update(_request(it))
    whole = {it: max(lasting[it], most.get(it, 0)) for it in {*lasting, *most}} | _request(spec)
    for resource, value in (spec.get("overhead") or {}).items():
        whole[resource] = whole.get(resource, 0) + _thousandths(value)
    return whole


def _request(it: Object) -> dict[str, int]:
    said = it.get("resources") or {}
    asked = {**(said.get("limits") or {}), **(said.get("requests") or {})}
    return {resource: _thousandths(value) for resource, value in asked.items()}


def _thousandths(value: Any) -> int:
    try:
        return round(float(parse(str(value))) * 1000)
    except ValueError:  # checked when it was stored; never a reason to stop
        return 0
