"""What may disruption budgets, priority classes, quotas and limits be?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from skiff.api import Object
from skiff.schema.walk import Problem
from skiff.validation.metadata import selector
from skiff.validation.problems import (
    duplicate,
    entries,
    forbidden,
    invalid,
    one_of,
    part,
    required,
    text,
    texts,
)  # fmt: skip
from skiff.validation.resources import HUGE, amount, amounts
from skiff.validation.workloads import share

_MOST_PRIORITY = 1_000_000_000
_SYSTEM = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_COUNTED = (
    "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage",
    "limits.cpu", "limits.memory", "limits.ephemeral-storage", "pods", "resourcequotas", "services", "replicationcontrollers",
    "secrets", "persistentvolumeclaims", "configmaps", "services.nodeports", "services.loadbalancers",
)  # fmt: skip
_SCOPES = (
    "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating",
    "VolumeAttributesClass",
)  # fmt: skip
_LIMITED = ("Container", "PersistentVolumeClaim", "Pod")


def disruption_budget(obj: Object, _old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        said = "minAvailable and maxUnavailable cannot be both set"
        yield invalid(
            "spec", {"minAvailable": spec["minAvailable"], "maxUnavailable": spec["maxUnavailable"]}, said
        )
    for field in ("minAvailable", "maxUnavailable"):
        value = spec.get(field)
        if value is None:
            continue
        yield from share(f"spec.{field}", value)
        if isinstance(value, str) and re.fullmatch("[0-9]{1,9}%", value) and int(value[:-1]) > 100:
            yield invalid(f"spec.{field}", value, "must not be greater than 100%")
    yield from selector(part(spec, "selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    yield from one_of("spec.unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget"))


def priority_class(obj: Object, old: Object | None) -> Iterator[Problem]:
    name, value = text(part(obj, "metadata"), "name"), obj.get("value") or 0
    if name.startswith("system-"):
        if _SYSTEM.get(name) != value:
            said = "priority class names with 'system-' prefix are reserved for system use only. error: "
            yield forbidden("metadata.name", f"{said}{name} is not a known system priority class")
    elif value > _MOST_PRIORITY:
        said = f"maximum allowed value of a user defined priority is {_MOST_PRIORITY}"
        yield forbidden("value", said)
    preemption = obj.get("preemptionPolicy")
    yield from one_of("preemptionPolicy", preemption, ("Never", "PreemptLowerPriority"))
    if old is None:
        return
    if value != (old.get("value") or 0):
        yield forbidden("value", "may not be changed in an update.")
    if preemption != old.get("preemptionPolicy"):
        yield invalid("preemptionPolicy", preemption, "field is immutable")


def resource_quota(obj: Object, old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    scopes = texts(spec, "scopes")
    yield from amounts(spec, "hard", "spec")
    for key, it in part(spec, "hard").items():
        where, found = f"spec.hard[{key}]", amount(it)
        if "/" not in key and key not in _COUNTED and HUGE not in key:
            yield invalid(where, key, "must be a standard resource for quota")
        counted = key in _COUNTED[10:] or key.startswith("count/")
        if counted and found is not None and found != found.to_integral_value():
            yield invalid(where, str(it), "must be an integer")
    for it in scopes:
        if it not in _SCOPES:
            yield invalid("spec.scopes", scopes, "unsupported scope")
    for pair in ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"}):
        if pair <= set(scopes):
            yield invalid("spec.scopes", scopes, "conflicting scopes")
    if not all(_applies(scope, key) for scope in scopes for key in part(spec, "hard")):
        yield invalid("spec.scopes", scopes, "unsupported scope applied to resource")
    for where, it in entries(part(spec, "scopeSelector"), "matchExpressions", "spec.scopeSelector"):
        yield from _scope(it, where)
    if old is not None and sorted(scopes) != sorted(texts(part(old, "spec"), "scopes")):
        yield invalid("spec.scopes", scopes, "field is immutable")


def _applies(scope: str, resource: str) -> bool:
    """Whether a scope can be put on a resource: all are about pods, and the best effort has no amounts."""
    if scope == "BestEffort":
        return resource in ("pods", "count/pods")
    own = resource in ("pods", "count/pods", "cpu", "memory", "ephemeral-storage") or HUGE in resource
    amount_of = resource.startswith(("requests.", "limits.")) and resource != "requests.storage"
    return scope not in _SCOPES or own or amount_of


def _scope(it: dict[str, Any], path: str) -> Iterator[Problem]:
    name, operator, values = text(it, "scopeName"), text(it, "operator"), texts(it, "values")
    if name not in _SCOPES:
        yield invalid(f"{path}.scopeName", name, "unsupported scope")
    if operator in ("In", "NotIn"):
        if not values:
            said = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            yield required(f"{path}.values", said)
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            said = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            yield invalid(f"{path}.values", values, said)
    else:
        yield invalid(f"{path}.operator", operator, "not a valid selector operator")


def limit_range(obj: Object, _old: Object | None) -> Iterator[Problem]:
    seen: set[str] = set()
    for where, it in entries(part(obj, "spec"), "limits", "spec"):
        sort = text(it, "type")
        if sort not in _LIMITED and "/" not in sort:
            yield invalid(f"{where}.type", sort, "must be a standard limit type or fully qualified")
        if sort in seen:
            yield duplicate(f"{where}.type", sort)
        seen.add(sort)
        yield from _limits(it, where, sort)


def _limits(it: dict[str, Any], path: str, sort: str) -> Iterator[Problem]:
    if sort == "Pod":
        for field in ("default", "defaultRequest"):
            if part(it, field):
                yield forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'")
    if sort == "PersistentVolumeClaim" and not (
        part(it, "min").get("storage") or part(it, "max").get("storage")
    ):
        said = "either minimum or maximum storage value is required, but neither was provided"
        yield required(f"{path}.limits", said)
    fields = ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio")
    for field in fields:
        yield from amounts(it, field, path)
    for key in sorted({key for field in fields for key in part(it, field)}):
        yield from _ordered(it, path, key)


def _ordered(it: dict[str, Any], path: str, key: str) -> Iterator[Problem]:
    """min <= defaultRequest <= default <= max."""
    order = ("min", "defaultRequest", "default", "max")
    words = {"min": "min", "defaultRequest": "default request", "default": "default", "max": "max"}
    given = [(field, part(it, field)[key]) for field in order if part(it, field).get(key) is not None]
    for number, (low_field, low) in enumerate(given):
        for high_field, high in given[number + 1 :]:
            less, more = amount(low), amount(high)
            if less is not None and more is not None and less > more:
                said = f"{words[low_field]} value {low} is greater than {words[high_field]} value {high}"
                yield invalid(f"{path}.{low_field}[{key}]", str(low), said)
    ratio = amount(part(it, "maxLimitRequestRatio").get(key))
    if ratio is not None and ratio < 1:
        said = f"ratio {part(it, 'maxLimitRequestRatio')[key]} is less than 1"
        yield invalid(f"{path}.maxLimitRequestRatio[{key}]", str(ratio), said)
