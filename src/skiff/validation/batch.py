"""What may Jobs and CronJobs be?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from skiff.api import Object
from skiff.objects import matches
from skiff.schedules import Schedule
from skiff.schema.walk import Problem
from skiff.validation.metadata import selector, template
from skiff.validation.pods import pod_spec
from skiff.validation.problems import (
    IMMUTABLE,
    at,
    entries,
    invalid,
    listed,
    not_negative,
    one_of,
    part,
    required,
    text,
    unsupported,
)  # fmt: skip

_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished", "backoffLimitPerIndex",
    "maxFailedIndexes",
)  # fmt: skip
_ZONE_PART = re.compile(r"[A-Za-z.\-_0-9+]{1,14}", re.ASCII)
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_MOST = 100_000


def job(obj: Object, old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    yield from _job_spec(spec, "spec")
    chosen = spec.get("selector")
    if not isinstance(chosen, dict):
        if old is not None:
            yield required("spec.selector")
    else:
        yield from selector(chosen, "spec.selector")
        have = part(at(spec, "template.metadata"), "labels")
        whole = [it for it in listed(chosen, "matchExpressions") if isinstance(it, dict)]
        if not matches({**chosen, "matchExpressions": whole}, have):
            said = "`selector` does not match template `labels`"
            yield invalid("spec.template.metadata.labels", have, said)
    if old is not None:
        yield from _changed(spec, part(old, "spec"), bool(part(old, "status").get("startTime")))


def _changed(new: dict[str, Any], old: dict[str, Any], begun: bool) -> Iterator[Problem]:
    for field in (
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ):
        if new.get(field) != old.get(field):
            yield invalid(f"spec.{field}", new.get(field), IMMUTABLE)
    if not (old.get("suspend") and not begun) and new.get("template") != old.get("template"):
        yield invalid("spec.template", new.get("template"), IMMUTABLE)
    indexed = new.get("completionMode") == "Indexed"
    if new.get("completions") != old.get("completions"):
        if not indexed:
            yield invalid("spec.completions", new.get("completions"), IMMUTABLE)
        elif new.get("completions") != new.get("parallelism"):
            said = "can only be modified in tandem with parallelism"
            yield invalid("spec.completions", new.get("completions"), f"{IMMUTABLE}: {said}")


def _job_spec(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    for field in _COUNTS:
        yield from not_negative(f"{path}.{field}", spec.get(field))
    mode = text(spec, "completionMode")
    yield from one_of(f"{path}.completionMode", mode, ("Indexed", "NonIndexed"))
    if mode == "Indexed":
        if spec.get("completions") is None:
            yield required(f"{path}.completions", f"when completion mode is {mode}")
        if (spec.get("parallelism") or 0) > _MOST:
            said = f"must be less than or equal to {_MOST} when completion mode is {mode}"
            yield invalid(f"{path}.parallelism", spec["parallelism"], said)
    elif spec.get("backoffLimitPerIndex") is not None:
        said = "requires indexed completion mode"
        yield invalid(f"{path}.backoffLimitPerIndex", spec["backoffLimitPerIndex"], said)
    replacing = spec.get("podReplacementPolicy")
    yield from one_of(f"{path}.podReplacementPolicy", replacing, ("Failed", "TerminatingOrFailed"))
    yield from _failures(spec, path)
    pods, where = part(spec, "template"), f"{path}.template"
    yield from template(pods, where)
    inner = part(pods, "spec")
    yield from pod_spec(inner, f"{where}.spec", template=True)
    policy = text(inner, "restartPolicy")
    if policy == "Always":
        said = 'Required value: valid values: "OnFailure", "Never"'
        yield "FieldValueRequired", said, f"{where}.spec.restartPolicy"
    if spec.get("podFailurePolicy") is not None and policy != "Never":
        said = 'only "Never" is supported when podFailurePolicy is specified'
        yield invalid(f"{where}.spec.restartPolicy", policy, said)


def _failures(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    rules = part(spec, "podFailurePolicy")
    if len(listed(rules, "rules")) > 20:
        yield invalid(f"{path}.podFailurePolicy.rules", len(rules["rules"]), "must have at most 20 items")
        return
    for where, it in entries(rules, "rules", f"{path}.podFailurePolicy"):
        yield from one_of(f"{where}.action", it.get("action"), _ACTIONS, needed=True)
        codes, conditions = it.get("onExitCodes"), listed(it, "onPodConditions")
        if codes is None and not conditions:
            said = "specifying one of OnExitCodes and OnPodConditions is required"
            yield invalid(f"{where}.onExitCodes", it, said)
        elif codes is not None and conditions:
            said = "specifying both OnExitCodes and OnPodConditions is not supported"
            yield invalid(where, it, said)
        if isinstance(codes, dict):
            yield from _exit_codes(codes, f"{where}.onExitCodes")


def _exit_codes(it: dict[str, Any], path: str) -> Iterator[Problem]:
    operator, values = text(it, "operator"), listed(it, "values")
    if operator not in ("In", "NotIn"):
        yield unsupported(f"{path}.operator", operator, ("In", "NotIn"))
    if not values:
        yield invalid(f"{path}.values", values, "at least one value is required")
    elif len(values) > 255:
        yield invalid(f"{path}.values", len(values), "must have at most 255 items")
    elif operator == "In" and 0 in values:
        yield invalid(f"{path}.values[{values.index(0)}]", 0, "must not be 0 for the In operator")


def cron_job(obj: Object, _old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    if not text(spec, "schedule"):
        yield required("spec.schedule")
    else:
        try:
            Schedule.parse(spec["schedule"])
        except ValueError as wrong:
            yield invalid("spec.schedule", spec["schedule"], str(wrong))
    yield from _zone(spec.get("timeZone"))
    for field in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from not_negative(f"spec.{field}", spec.get(field))
    policy = spec.get("concurrencyPolicy")
    yield from one_of("spec.concurrencyPolicy", policy, ("Allow", "Forbid", "Replace"), needed=True)
    made = part(spec, "jobTemplate")
    yield from template(made, "spec.jobTemplate")
    inner, path = part(made, "spec"), "spec.jobTemplate.spec"
    yield from _job_spec(inner, path)
    if inner.get("selector") is not None:
        yield invalid(f"{path}.selector", inner["selector"], "`selector` will be auto-generated")
    if inner.get("manualSelector"):
        yield unsupported(f"{path}.manualSelector", True, ("nil", "false"))


def _zone(zone: Any) -> Iterator[Problem]:
    path = "spec.timeZone"
    if zone is None:
        return
    if not zone:
        yield invalid(path, zone, "timeZone must be nil or non-empty string")
    elif zone.lower() == "local":
        said = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        yield invalid(path, zone, said)
    elif not all(
        _ZONE_PART.fullmatch(it) and it not in (".", "..") and it[0] != "-" for it in zone.split("/")
    ):
        yield invalid(path, zone, f"unknown time zone {zone}")
    else:
        try:
            Schedule.parse("@hourly", zone)
        except ValueError as wrong:
            yield invalid(path, zone, str(wrong))
