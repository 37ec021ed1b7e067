"""Where may a pod ask to run? Labels of nodes, affinity, spreading and tolerations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.metadata import labels, selector
from skiff.validation.problems import (
    POSITIVE,
    duplicate,
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

_EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_REQUIRED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def placement(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    """Everything that a pod says of its node."""
    yield from labels(spec, path, "nodeSelector")
    affinity, where = part(spec, "affinity"), f"{path}.affinity"
    yield from _node_affinity(affinity, f"{where}.nodeAffinity")
    for field in ("podAffinity", "podAntiAffinity"):
        wanted, inner = part(affinity, field), f"{where}.{field}"
        for place, term in entries(wanted, _REQUIRED, inner):
            yield from _pod_term(term, place)
        for place, it in entries(wanted, _PREFERRED, inner):
            yield from _weight(it, place)
            yield from _pod_term(part(it, "podAffinityTerm"), f"{place}.podAffinityTerm")
    yield from _spreading(spec, path)
    yield from tolerations(spec, path)


def _node_affinity(affinity: dict[str, Any], path: str) -> Iterator[Problem]:
    wanted = part(affinity, "nodeAffinity")
    if isinstance(wanted.get(_REQUIRED), dict):
        yield from node_selector(wanted[_REQUIRED], f"{path}.{_REQUIRED}")
    for where, it in entries(wanted, _PREFERRED, path):
        yield from _weight(it, where)
        yield from _node_term(part(it, "preference"), f"{where}.preference")


def node_selector(it: dict[str, Any], path: str) -> Iterator[Problem]:
    """Of a pod, or of a volume that only some nodes reach."""
    if not it.get("nodeSelectorTerms"):
        yield required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for where, term in entries(it, "nodeSelectorTerms", path):
        yield from _node_term(term, where)


def _node_term(term: dict[str, Any], path: str) -> Iterator[Problem]:
    for where, it in entries(term, "matchExpressions", path):
        operator, values = text(it, "operator"), texts(it, "values")
        if operator in ("In", "NotIn"):
            if not values:
                yield required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                said = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield forbidden(f"{where}.values", said)
        elif operator in ("Gt", "Lt"):
            if len(values) != 1:
                said = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                yield required(f"{where}.values", said)
        else:
            yield invalid(f"{where}.operator", operator, "not a valid selector operator")
        yield from each(f"{where}.key", text(it, "key"), names.qualified(text(it, "key")))
        for index, value in enumerate(values):
            yield from each(f"{where}.values[{index}]", value, names.label_value(value))
    for where, it in entries(term, "matchFields", path):
        if (operator := text(it, "operator")) not in ("In", "NotIn"):
            yield invalid(f"{where}.operator", operator, "not a valid selector operator")
        elif len(texts(it, "values")) != 1:
            said = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            yield required(f"{where}.values", said)
        if (key := text(it, "key")) != "metadata.name":
            yield invalid(f"{where}.key", key, "not a valid field selector key")


def _weight(it: dict[str, Any], path: str) -> Iterator[Problem]:
    weight = it.get("weight") or 0
    if not 1 <= weight <= 100:
        yield invalid(f"{path}.weight", weight, "must be in the range 1-100")


def _pod_term(term: dict[str, Any], path: str) -> Iterator[Problem]:
    for field in ("labelSelector", "namespaceSelector"):
        yield from selector(part(term, field), f"{path}.{field}")
    for index, name in enumerate(texts(term, "namespaces")):
        yield from each(f"{path}.namespaces[{index}]", name, names.label(name))
    yield from _topology_key(term, path)


def _topology_key(it: dict[str, Any], path: str) -> Iterator[Problem]:
    key = text(it, "topologyKey")
    if not key:
        yield required(f"{path}.topologyKey", "can not be empty")
    else:
        yield from each(f"{path}.topologyKey", key, names.qualified(key))


def _spreading(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for where, it in entries(spec, "topologySpreadConstraints", path):
        skew, action = it.get("maxSkew") or 0, text(it, "whenUnsatisfiable")
        if skew <= 0:
            yield invalid(f"{where}.maxSkew", skew, POSITIVE)
        yield from _topology_key(it, where)
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            yield unsupported(f"{where}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"))
        if (least := it.get("minDomains")) is not None:
            if least <= 0:
                yield invalid(f"{where}.minDomains", least, POSITIVE)
            if action == "ScheduleAnyway":
                said = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                yield invalid(f"{where}.minDomains", least, said)
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            yield from one_of(f"{where}.{field}", it.get(field), ("Honor", "Ignore"))
        yield from selector(part(it, "labelSelector"), f"{where}.labelSelector")
        pair = (text(it, "topologyKey"), action)
        if pair in seen:
            yield duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", f"{{{pair[0]}, {pair[1]}}}")
        seen.add(pair)


def tolerations(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    for where, it in entries(spec, "tolerations", path):
        key, operator, effect = text(it, "key"), text(it, "operator"), text(it, "effect")
        if key:
            yield from each(f"{where}.key", key, names.qualified(key))
        elif operator != "Exists":
            said = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield invalid(f"{where}.operator", operator, said)
        if it.get("tolerationSeconds") is not None and effect != "NoExecute":
            said = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield invalid(f"{where}.effect", effect, said)
        if operator in ("", "Equal"):
            value = text(it, "value")
            yield from each(f"{where}.operator", value, names.label_value(value))
        elif operator == "Exists":
            if text(it, "value"):
                yield invalid(f"{where}.operator", it, "value must be empty when `operator` is 'Exists'")
        elif operator not in ("Lt", "Gt"):
            yield unsupported(f"{where}.operator", operator, ("Equal", "Exists"))
        yield from one_of(f"{where}.effect", effect, _EFFECTS)


def taints(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    """Of a node."""
    seen: set[tuple[str, str]] = set()
    for where, it in entries(spec, "taints", path):
        key, value, effect = text(it, "key"), text(it, "value"), text(it, "effect")
        yield from each(f"{where}.key", key, names.qualified(key))
        yield from each(f"{where}.value", value, names.label_value(value))
        yield from one_of(f"{where}.effect", effect, _EFFECTS, needed=True)
        if (key, effect) in seen:
            yield duplicate(where, it)
        seen.add((key, effect))
