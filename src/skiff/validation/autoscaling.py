"""What may a HorizontalPodAutoscaler be?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skiff.api import Object
from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.metadata import selector
from skiff.validation.problems import (
    POSITIVE,
    each,
    entries,
    forbidden,
    invalid,
    listed,
    one_of,
    part,
    required,
    text,
)  # fmt: skip
from skiff.validation.resources import quantity

_SOURCES = {
    "ContainerResource": "containerResource", "External": "external", "Object": "object", "Pods": "pods", "Resource": "resource",
}  # fmt: skip
_TARGETS = ("averageUtilization", "averageValue", "value")


def autoscaler(obj: Object, _old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if least is not None and least < 1:
        yield invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        yield invalid("spec.maxReplicas", most, POSITIVE)
    if least is not None and most < least:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    yield from _reference(part(spec, "scaleTargetRef"), "spec.scaleTargetRef")
    for where, it in entries(spec, "metrics", "spec"):
        yield from _metric(it, where)
    for field in ("scaleUp", "scaleDown"):
        rules = part(spec, "behavior").get(field)
        if isinstance(rules, dict):
            yield from _rules(rules, f"spec.behavior.{field}")


def _reference(it: dict[str, Any], path: str) -> Iterator[Problem]:
    for field in ("kind", "name"):
        found = text(it, field)
        if not found:
            yield required(f"{path}.{field}")
        else:
            yield from each(f"{path}.{field}", found, names.segment(found))


def _metric(it: dict[str, Any], path: str) -> Iterator[Problem]:
    sort = text(it, "type")
    if not sort:
        yield required(f"{path}.type", "must specify a metric source type")
        return
    yield from one_of(f"{path}.type", sort, _SOURCES)
    expected = _SOURCES.get(sort, "")
    for field in _SOURCES.values():
        given = isinstance(it.get(field), dict)
        if field == expected and not given:
            said = (
                f"must populate information for the given metric source (only 1 is required) for type {sort}"
            )
            yield required(f"{path}.{field}", said)
        elif given and field != expected:
            said = "must populate the given metric source only"
            yield forbidden(f"{path}.{field}", said)
    if expected and isinstance(it.get(expected), dict):
        yield from _source(it[expected], f"{path}.{expected}", expected)


def _source(it: dict[str, Any], path: str, sort: str) -> Iterator[Problem]:
    if sort in ("resource", "containerResource"):
        if not text(it, "name"):
            yield required(f"{path}.name", "must specify a resource name")
        if sort == "containerResource" and not text(it, "container"):
            yield required(f"{path}.container", "must specify a container name")
    else:
        metric = part(it, "metric")
        if not text(metric, "name"):
            yield required(f"{path}.metric.name", "must specify a metric name")
        yield from selector(part(metric, "selector"), f"{path}.metric.selector")
        if sort == "object":
            yield from _reference(part(it, "describedObject"), f"{path}.describedObject")
    target, where = part(it, "target"), f"{path}.target"
    yield from one_of(
        f"{where}.type", target.get("type"), ("AverageValue", "Utilization", "Value"), needed=True
    )
    share = target.get("averageUtilization")
    if share is not None and share < 1:
        yield invalid(f"{where}.averageUtilization", share, "must be greater than 0")
    for field in ("value", "averageValue"):
        if target.get(field) is not None:
            yield from quantity(f"{where}.{field}", target[field], positive=True)
    if all(target.get(field) is None for field in _TARGETS):
        said = "must set either a target value for metric or a per-pod target"
        yield required(f"{where}.averageUtilization" if "esource" in sort else f"{where}.averageValue", said)


def _rules(it: dict[str, Any], path: str) -> Iterator[Problem]:
    window = it.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        yield invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    elif window is not None and window > 3600:
        yield invalid(f"{path}.stabilizationWindowSeconds", window, "must be less than or equal to 3600")
    yield from quantity(f"{path}.tolerance", it.get("tolerance"))
    yield from one_of(f"{path}.selectPolicy", it.get("selectPolicy"), ("Disabled", "Max", "Min"))
    if not listed(it, "policies"):
        yield required(f"{path}.policies", "must specify at least one Policy")
    for where, policy in entries(it, "policies", path):
        yield from one_of(f"{where}.type", policy.get("type"), ("Percent", "Pods"), needed=True)
        for field, most in (("value", 0), ("periodSeconds", 1800)):
            number = policy.get(field) or 0
            if number <= 0:
                yield invalid(f"{where}.{field}", number, POSITIVE)
            elif most and number > most:
                yield invalid(f"{where}.{field}", number, f"must be less than or equal to {most}")
