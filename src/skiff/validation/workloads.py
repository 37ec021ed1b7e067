"""What may Deployments, ReplicaSets, StatefulSets, DaemonSets and ReplicationControllers be?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from skiff.api import Object
from skiff.objects import matches
from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.metadata import labels, selector, template
from skiff.validation.pods import pod_spec
from skiff.validation.problems import (
    IMMUTABLE,
    NEGATIVE,
    at,
    each,
    entries,
    forbidden,
    invalid,
    listed,
    not_negative,
    one_of,
    part,
    required,
    text,
    unsupported,
)  # fmt: skip
from skiff.validation.storage import claim_spec

_SET_SAID = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy',"
    " 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_SET_CHANGES = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)  # fmt: skip


def deployment(obj: Object, old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    yield from _counts(spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    yield from _selecting(spec)
    yield from _templated(spec)
    strategy, path = part(spec, "strategy"), "spec.strategy"
    sort = text(strategy, "type")
    yield from one_of(f"{path}.type", sort, ("Recreate", "RollingUpdate"), needed=True)
    if sort == "Recreate" and strategy.get("rollingUpdate") is not None:
        said = f"may not be specified when strategy `type` is '{sort}'"
        yield forbidden(f"{path}.rollingUpdate", said)
    elif sort == "RollingUpdate":
        yield from _rolling(part(strategy, "rollingUpdate"), f"{path}.rollingUpdate")
    if (deadline := spec.get("progressDeadlineSeconds")) is not None:
        yield from not_negative("spec.progressDeadlineSeconds", deadline)
        if deadline <= (spec.get("minReadySeconds") or 0):
            said = "must be greater than minReadySeconds"
            yield invalid("spec.progressDeadlineSeconds", deadline, said)
    yield from _same_selector(spec, old)


def replica_set(obj: Object, old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    yield from _counts(spec, "replicas", "minReadySeconds")
    yield from _selecting(spec)
    yield from _templated(spec)
    yield from _same_selector(spec, old)


def daemon_set(obj: Object, old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    yield from _counts(spec, "minReadySeconds", "revisionHistoryLimit")
    yield from _selecting(spec)
    yield from _templated(spec)
    strategy = part(spec, "updateStrategy")
    sort = text(strategy, "type")
    yield from one_of("spec.updateStrategy.type", sort, ("OnDelete", "RollingUpdate"), needed=True)
    if sort == "RollingUpdate" and isinstance(strategy.get("rollingUpdate"), dict):
        yield from _rolling(strategy["rollingUpdate"], "spec.updateStrategy.rollingUpdate", exclusive=True)
    yield from _same_selector(spec, old)


def stateful_set(obj: Object, old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    yield from _counts(spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    yield from not_negative("spec.ordinals.start", part(spec, "ordinals").get("start"))
    yield from _selecting(spec)
    claims = [text(part(it, "metadata"), "name") for it in listed(spec, "volumeClaimTemplates")]
    yield from _templated(spec, claims)
    policy = text(spec, "podManagementPolicy")
    yield from one_of("spec.podManagementPolicy", policy, ("OrderedReady", "Parallel"), needed=True)
    strategy = part(spec, "updateStrategy")
    yield from one_of(
        "spec.updateStrategy.type", strategy.get("type"), ("OnDelete", "RollingUpdate"), needed=True
    )
    rolling, path = part(strategy, "rollingUpdate"), "spec.updateStrategy.rollingUpdate"
    yield from not_negative(f"{path}.partition", rolling.get("partition"))
    if rolling.get("maxUnavailable") is not None:
        yield from share(f"{path}.maxUnavailable", rolling["maxUnavailable"])
        if not _any(rolling["maxUnavailable"]):
            yield invalid(f"{path}.maxUnavailable", rolling["maxUnavailable"], "cannot be 0")
    keeping, where = (
        part(spec, "persistentVolumeClaimRetentionPolicy"),
        "spec.persistentVolumeClaimRetentionPolicy",
    )
    for field in ("whenDeleted", "whenScaled"):
        yield from one_of(f"{where}.{field}", keeping.get(field), ("Delete", "Retain"))
    for place, it in entries(spec, "volumeClaimTemplates", "spec"):
        if name := text(part(it, "metadata"), "name"):
            yield from each(f"{place}.metadata.name", name, names.subdomain(name))
        if old is None:
            yield from claim_spec(part(it, "spec"), f"{place}.spec")
    if old is not None and _but(spec, _SET_CHANGES) != _but(part(old, "spec"), _SET_CHANGES):
        yield forbidden("spec", _SET_SAID)


def replication_controller(obj: Object, _old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    yield from _counts(spec, "replicas", "minReadySeconds")
    yield from labels(spec, "spec", "selector")
    chosen = part(spec, "selector")
    if not chosen:
        yield required("spec.selector")
    if not isinstance(spec.get("template"), dict):
        yield required("spec.template")
        return
    have = part(at(spec, "template.metadata"), "labels")
    if chosen and not matches({"matchLabels": chosen}, have):
        said = "`selector` does not match template `labels`"
        yield invalid("spec.template.metadata.labels", have, said)
    yield from _templated(spec)


def _counts(spec: dict[str, Any], *fields: str) -> Iterator[Problem]:
    for field in fields:
        if (count := spec.get(field)) is not None and count < 0:
            yield invalid(f"spec.{field}", count, NEGATIVE)


def _selecting(spec: dict[str, Any]) -> Iterator[Problem]:
    chosen = spec.get("selector")
    if not isinstance(chosen, dict):
        yield required("spec.selector")
        return
    yield from selector(chosen, "spec.selector")
    if not chosen.get("matchLabels") and not chosen.get("matchExpressions"):
        yield invalid("spec.selector", chosen, "empty selector is invalid for deployment")
        return
    have = part(at(spec, "template.metadata"), "labels")
    if not _matches(chosen, have):
        said = "`selector` does not match template `labels`"
        yield invalid("spec.template.metadata.labels", have, said)


def _matches(chosen: dict[str, Any], have: dict[str, Any]) -> bool:
    """A null in the expressions was told already."""
    whole = [it for it in listed(chosen, "matchExpressions") if isinstance(it, dict)]
    return matches({**chosen, "matchExpressions": whole}, have)


def _templated(spec: dict[str, Any], claims: list[str] | None = None) -> Iterator[Problem]:
    pods = part(spec, "template")
    yield from template(pods, "spec.template")
    inner = part(pods, "spec")
    yield from pod_spec(inner, "spec.template.spec", template=True, claims=claims or ())
    path = "spec.template.spec"
    if (policy := text(inner, "restartPolicy")) in ("OnFailure", "Never"):
        yield unsupported(f"{path}.restartPolicy", policy, ("Always",))
    if inner.get("activeDeadlineSeconds") is not None:
        said = "activeDeadlineSeconds in ReplicaSet is not Supported"
        yield forbidden(f"{path}.activeDeadlineSeconds", said)
    if inner.get("ephemeralContainers"):
        yield forbidden(f"{path}.ephemeralContainers", "ephemeral containers not allowed in pod template")


def _same_selector(spec: dict[str, Any], old: Object | None) -> Iterator[Problem]:
    if old is not None and spec.get("selector") != part(old, "spec").get("selector"):
        yield invalid("spec.selector", spec.get("selector"), IMMUTABLE)


def _rolling(it: dict[str, Any], path: str, *, exclusive: bool = False) -> Iterator[Problem]:
    """How many may be too many and too few; a DaemonSet has one of both."""
    surge, less = it.get("maxSurge"), it.get("maxUnavailable")
    for field, value in (("maxUnavailable", less), ("maxSurge", surge)):
        if value is not None:
            yield from share(f"{path}.{field}", value)
    if exclusive and _any(surge) and _any(less):
        yield invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
    elif exclusive and not _any(surge) and not _any(less):
        yield required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")
    elif not _any(surge) and not _any(less):
        yield invalid(f"{path}.maxUnavailable", less, "may not be 0 when `maxSurge` is 0")
    if isinstance(less, str) and re.fullmatch("[0-9]{1,9}%", less) and int(less[:-1]) > 100:
        yield invalid(f"{path}.maxUnavailable", less, "must not be greater than 100%")


def share(path: str, value: Any) -> Iterator[Problem]:
    """A number, or a percentage."""
    if isinstance(value, str):
        yield from each(path, value, names.percent(value))
    else:
        yield from not_negative(path, value)


def _any(value: Any) -> bool:
    """Whether it is more than nothing."""
    return value.rstrip("%").strip("0") != "" if isinstance(value, str) else bool(value)


def _but(spec: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: it for name, it in spec.items() if name not in fields and it is not None}


def pod_template(obj: Object, _old: Object | None) -> Iterator[Problem]:
    pods = part(obj, "template")
    yield from template(pods, "template")
    yield from pod_spec(part(pods, "spec"), "template.spec", template=True)


def controller_revision(obj: Object, old: Object | None) -> Iterator[Problem]:
    yield from not_negative("revision", obj.get("revision"))
    if old is not None and obj.get("data") != old.get("data"):
        yield invalid("data", obj.get("data"), IMMUTABLE)
