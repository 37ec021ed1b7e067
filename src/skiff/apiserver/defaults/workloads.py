"""Defaults of what makes pods, and of what counts them."""

from __future__ import annotations

from typing import Any

from skiff.api import Object
from skiff.apiserver.defaults.parts import dicts, inside, part, put
from skiff.apiserver.defaults.pods import pod_spec


def templated(spec: dict[str, Any]) -> None:
    template = part(spec, "template")
    part(template, "metadata")
    pod_spec(part(template, "spec"))


def deployment(obj: Object) -> None:
    spec = part(obj, "spec")
    put(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = part(spec, "strategy")
    put(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        put(part(strategy, "rollingUpdate"), maxSurge="25%", maxUnavailable="25%")
    templated(spec)


def replica_set(obj: Object) -> None:
    spec = part(obj, "spec")
    put(spec, replicas=1)
    templated(spec)


def replication_controller(obj: Object) -> None:
    """It takes the labels of its pods, for itself and for what it selects."""
    spec = part(obj, "spec")
    put(spec, replicas=1)
    if isinstance(spec.get("template"), dict):
        templated(spec)
    if labels := inside(spec, "template", "metadata", "labels"):
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        metadata = part(obj, "metadata")
        if not metadata.get("labels"):
            metadata["labels"] = dict(labels)


def stateful_set(obj: Object) -> None:
    spec = part(obj, "spec")
    put(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    strategy = part(spec, "updateStrategy")
    put(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        put(part(strategy, "rollingUpdate"), partition=0)
    put(part(spec, "persistentVolumeClaimRetentionPolicy"), whenDeleted="Retain", whenScaled="Retain")
    for it in dicts(spec.get("volumeClaimTemplates")):
        put(part(it, "spec"), volumeMode="Filesystem")
    templated(spec)


def daemon_set(obj: Object) -> None:
    spec = part(obj, "spec")
    put(spec, revisionHistoryLimit=10)
    strategy = part(spec, "updateStrategy")
    put(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        put(part(strategy, "rollingUpdate"), maxUnavailable=1, maxSurge=0)
    templated(spec)


def job(obj: Object) -> None:
    _job_spec(part(obj, "spec"))


def name_pods(obj: Object) -> None:
    """The labels by which a Job knows its pods, unless it brings its own selector."""
    spec = part(obj, "spec")
    uid, name = inside(obj, "metadata").get("uid"), inside(obj, "metadata").get("name", "")
    if uid and not spec.get("manualSelector"):
        marks = {
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": name,
            "job-name": name,
        }
        labels = part(part(spec["template"], "metadata"), "labels")
        labels.update({**marks, "controller-uid": uid})
        put(spec, selector={"matchLabels": {"batch.kubernetes.io/controller-uid": uid}})


def _job_spec(spec: dict[str, Any]) -> None:
    put(
        spec,
        backoffLimit=6 if spec.get("backoffLimitPerIndex") is None else 2**31 - 1,
        completionMode="NonIndexed",
        suspend=False,
        podReplacementPolicy="Failed" if spec.get("podFailurePolicy") is not None else "TerminatingOrFailed",
    )
    if spec.get("parallelism") is None and spec.get("completions") is None:
        spec["completions"] = 1
    put(spec, parallelism=1)
    for rule in dicts(inside(spec, "podFailurePolicy").get("rules")):
        for condition in dicts(rule.get("onPodConditions")):
            put(condition, status="True")
    templated(spec)


def cron_job(obj: Object) -> None:
    spec = part(obj, "spec")
    put(
        spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1
    )
    _job_spec(part(part(spec, "jobTemplate"), "spec"))


def autoscaler(obj: Object) -> None:
    spec = part(obj, "spec")
    put(spec, minReplicas=1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if not isinstance(behavior, dict):
        return
    share = {"type": "Percent", "value": 100, "periodSeconds": 15}
    up, down = part(behavior, "scaleUp"), part(behavior, "scaleDown")
    put(up, stabilizationWindowSeconds=0, selectPolicy="Max")
    put(up, policies=[{"type": "Pods", "value": 4, "periodSeconds": 15}, {**share}])
    put(down, selectPolicy="Max", policies=[share])
