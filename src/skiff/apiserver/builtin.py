"""What does the API server add to an object that leaves things out? The defaults of the built-in kinds.

They are part of the API: kubectl and controllers rely on them. Source: the "defaults to" sentences of the API reference,
https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

from skiff.api import Object
from skiff.kinds import (
    CLUSTER_ROLE_BINDINGS,
    CRON_JOBS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    MUTATING_WEBHOOKS,
    POD_TEMPLATES,
    PODS,
    REPLICA_SETS,
    ROLE_BINDINGS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    VALIDATING_WEBHOOKS,
    Kind,
)  # fmt: skip

_RBAC = "rbac.authorization.k8s.io"


def with_defaults(kind: Kind, obj: Object) -> Object:
    """The object with every default filled in. The input is not changed."""
    complete = _COMPLETE.get(kind)
    if complete is None:
        return obj
    made: Object = copied(obj)
    complete(made)
    return made


def copied(value: Any) -> Any:
    """A deep copy of JSON."""
    if isinstance(value, dict):
        return {key: copied(it) for key, it in value.items()}
    if isinstance(value, list):
        return [copied(it) for it in value]
    return value


def _set(target: dict[str, Any], **defaults: Any) -> None:
    for name, value in defaults.items():
        if target.get(name) is None:
            target[name] = value


def _part(target: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(target.get(name), dict):
        target[name] = {}
    found: dict[str, Any] = target[name]
    return found


def _dicts(value: Any) -> Iterable[dict[str, Any]]:
    return (it for it in value if isinstance(it, dict)) if isinstance(value, list) else ()


def _pod(obj: Object) -> None:
    spec = _part(obj, "spec")
    pod_spec(spec)
    _set(spec, serviceAccountName=spec.get("serviceAccount") or "default", enableServiceLinks=True)
    spec["serviceAccount"] = spec["serviceAccountName"]
    _set(_part(obj, "status"), phase="Pending", qosClass=_quality(spec))


def pod_spec(spec: dict[str, Any]) -> None:
    """Defaults of a pod, also inside templates."""
    _set(
        spec, restartPolicy="Always", dnsPolicy="ClusterFirst", terminationGracePeriodSeconds=30, securityContext={},
        schedulerName="default-scheduler",
    )  # fmt: skip
    for container in (*_dicts(spec.get("containers")), *_dicts(spec.get("initContainers"))):
        _container(container)
    for volume in _dicts(spec.get("volumes")):
        _volume(volume)


def _container(it: dict[str, Any]) -> None:
    image = str(it.get("image", ""))
    newest = image.endswith(":latest") or (":" not in image.rpartition("/")[2] and "@" not in image)
    _set(
        it, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File", resources={},
        imagePullPolicy="Always" if newest else "IfNotPresent",
    )  # fmt: skip
    limits = (it.get("resources") or {}).get("limits") or {}
    if limits:
        it["resources"]["requests"] = {**limits, **(it["resources"].get("requests") or {})}
    for port in _dicts(it.get("ports")):
        _set(port, protocol="TCP")
    for entry in _dicts(it.get("env")):
        if field := (entry.get("valueFrom") or {}).get("fieldRef"):
            _set(field, apiVersion="v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(probe := it.get(name), dict):
            _set(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            _http(probe.get("httpGet"))
            if isinstance(grpc := probe.get("grpc"), dict):
                _set(grpc, service="")
    for hook in (it.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _http(hook.get("httpGet"))


def _http(get: Any) -> None:
    if isinstance(get, dict):
        _set(get, path="/", scheme="HTTP")


def _volume(it: dict[str, Any]) -> None:
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        if isinstance(it.get(source), dict):
            _set(it[source], defaultMode=0o644)
    for part in _dicts((it.get("projected") or {}).get("sources")):
        if isinstance(token := part.get("serviceAccountToken"), dict):
            _set(token, expirationSeconds=3600)
    if isinstance(it.get("hostPath"), dict):
        _set(it["hostPath"], type="")


def _quality(spec: dict[str, Any]) -> str:
    wishes = [it.get("resources") or {} for it in _dicts(spec.get("containers"))]
    if not any(it.get("requests") or it.get("limits") for it in wishes):
        return "BestEffort"
    exact = all(
        {"cpu", "memory"} <= set(it.get("limits") or {})
        and (it.get("requests") or it["limits"]) == it["limits"]
        for it in wishes
    )
    return "Guaranteed" if exact else "Burstable"


def _templated(spec: dict[str, Any]) -> None:
    template = _part(spec, "template")
    _part(template, "metadata")
    pod_spec(_part(template, "spec"))


def _deployment(obj: Object) -> None:
    spec = _part(obj, "spec")
    _set(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = _part(spec, "strategy")
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(_part(strategy, "rollingUpdate"), maxSurge="25%", maxUnavailable="25%")
    _templated(spec)


def _replica_set(obj: Object) -> None:
    spec = _part(obj, "spec")
    _set(spec, replicas=1)
    _templated(spec)


def _stateful_set(obj: Object) -> None:
    spec = _part(obj, "spec")
    _set(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    _set(_part(spec, "updateStrategy"), type="RollingUpdate")
    _templated(spec)


def _daemon_set(obj: Object) -> None:
    spec = _part(obj, "spec")
    _set(spec, revisionHistoryLimit=10)
    _set(_part(spec, "updateStrategy"), type="RollingUpdate")
    _templated(spec)


def _job(obj: Object) -> None:
    spec = _part(obj, "spec")
    _job_spec(spec)
    uid, name = obj.get("metadata", {}).get("uid"), obj.get("metadata", {}).get("name", "")
    if uid and not spec.get("manualSelector"):
        marks = {
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": name,
            "job-name": name,
        }
        labels = _part(_part(spec["template"], "metadata"), "labels")
        labels.update({**marks, "controller-uid": uid})
        _set(spec, selector={"matchLabels": {"batch.kubernetes.io/controller-uid": uid}})


def _job_spec(spec: dict[str, Any]) -> None:
    _set(
        spec,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        podReplacementPolicy="TerminatingOrFailed",
    )
    if spec.get("parallelism") is None and spec.get("completions") is None:
        spec["completions"] = 1
    _set(spec, parallelism=1)
    _templated(spec)


def _cron_job(obj: Object) -> None:
    spec = _part(obj, "spec")
    _set(
        spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1
    )
    _job_spec(_part(_part(spec, "jobTemplate"), "spec"))


def _service(obj: Object) -> None:
    spec = _part(obj, "spec")
    _set(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName":
        _set(spec, internalTrafficPolicy="Cluster", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _set(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        _set(spec, allocateLoadBalancerNodePorts=True)
    for port in _dicts(spec.get("ports")):
        _set(port, protocol="TCP")
        if spec["type"] != "ExternalName":
            _set(port, targetPort=port.get("port"))
    _set(_part(obj, "status"), loadBalancer={})


def _secret(obj: Object) -> None:
    _set(obj, type="Opaque")
    if texts := obj.pop("stringData", None):
        data = _part(obj, "data")
        data.update({key: base64.b64encode(str(text).encode()).decode() for key, text in texts.items()})


def _binding(obj: Object) -> None:
    _set(_part(obj, "roleRef"), apiGroup=_RBAC)
    for subject in _dicts(obj.get("subjects")):
        _set(subject, apiGroup="" if subject.get("kind") == "ServiceAccount" else _RBAC)
        if not subject["apiGroup"]:
            del subject["apiGroup"]


def _webhooks(obj: Object) -> None:
    for hook in _dicts(obj.get("webhooks")):
        _set(
            hook,
            failurePolicy="Fail",
            matchPolicy="Equivalent",
            timeoutSeconds=10,
            namespaceSelector={},
            objectSelector={},
        )
        if obj.get("kind") == "MutatingWebhookConfiguration":
            _set(hook, reinvocationPolicy="Never")
        for rule in _dicts(hook.get("rules")):
            _set(rule, scope="*")
        if isinstance(service := (hook.get("clientConfig") or {}).get("service"), dict):
            _set(service, port=443)


def _definition(obj: Object) -> None:
    spec = _part(obj, "spec")
    names = _part(spec, "names")
    kind = str(names.get("kind", ""))
    _set(names, singular=kind.lower(), listKind=f"{kind}List")
    _set(spec, conversion={"strategy": "None"})


_COMPLETE: dict[Kind, Callable[[Object], None]] = {
    PODS: _pod, DEPLOYMENTS: _deployment, REPLICA_SETS: _replica_set, STATEFUL_SETS: _stateful_set, DAEMON_SETS: _daemon_set,
    JOBS: _job, CRON_JOBS: _cron_job, SERVICES: _service, SECRETS: _secret, ROLE_BINDINGS: _binding,
    CLUSTER_ROLE_BINDINGS: _binding, MUTATING_WEBHOOKS: _webhooks, VALIDATING_WEBHOOKS: _webhooks,
    CUSTOM_RESOURCE_DEFINITIONS: _definition, POD_TEMPLATES: _templated,
}  # fmt: skip
