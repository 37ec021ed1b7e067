"""One object of each kind that Kubernetes takes, with most of what its rules look at. ``with_`` changes a copy."""

from __future__ import annotations

import copy
from typing import Any

from skiff import kinds
from skiff.kinds import Kind

Object = dict[str, Any]
GONE = object()

CONTAINER = {
    "name": "main", "image": "example.com/main:1", "ports": [{"name": "http", "containerPort": 8080}],
    "env": [{"name": "A", "value": "1"}, {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}],
    "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}],
    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch", "subPath": "a/b"}],
    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": 1, "memory": "128Mi"}},
    "livenessProbe": {"httpGet": {"port": "http"}}, "readinessProbe": {"exec": {"command": ["true"]}, "successThreshold": 2},
    "lifecycle": {"preStop": {"sleep": {"seconds": 3}}}, "securityContext": {"runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
}  # fmt: skip
POD_SPEC = {
    "containers": [CONTAINER], "initContainers": [{"name": "first", "image": "a"}, {"name": "beside", "image": "a", "restartPolicy": "Always"}],
    "volumes": [
        {"name": "scratch"}, {"name": "files", "configMap": {"name": "c", "items": [{"key": "a", "path": "b/a"}]}},
        {"name": "tokens", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "x"}}, {"name": "host", "hostPath": {"path": "/var", "type": "Directory"}},
        {"name": "me", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ],
    "nodeSelector": {"a": "b"}, "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}],
    "affinity": {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}}]},
    },
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    "dnsConfig": {"nameservers": ["10.0.0.1"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}]},
    "hostAliases": [{"ip": "10.1.1.1", "hostnames": ["a.b"]}], "securityContext": {"fsGroup": 1, "sysctls": [{"name": "net.core.somaxconn", "value": "1"}]},
    "readinessGates": [{"conditionType": "example.com/ready"}], "imagePullSecrets": [{"name": "pull"}], "hostname": "one",
}  # fmt: skip
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": POD_SPEC}
RUN_ONCE = {**TEMPLATE, "spec": {**POD_SPEC, "restartPolicy": "Never"}}
SELECTING = {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
WEBHOOK = {
    "name": "a.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": {"url": "https://example.com/hook"},
    "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
}  # fmt: skip
POLICY = {
    "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}]},
    "validations": [{"expression": "object.metadata.name != 'bad'"}],
}  # fmt: skip
TLS = {"tls.crt": "YQ==", "tls.key": "Yg=="}


def _named(body: Object, name: str = "good") -> Object:
    return {**body, "metadata": {"name": name, **body.get("metadata", {})}}


GOOD: dict[Kind, Object] = {
    kind: _named(body)
    for kind, body in {
        kinds.PODS: {"spec": POD_SPEC},
        kinds.DEPLOYMENTS: {"spec": {**SELECTING, "replicas": 2, "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}},
        kinds.REPLICA_SETS: {"spec": SELECTING},
        kinds.STATEFUL_SETS: {"spec": {**SELECTING, "serviceName": "s", "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": CLAIM}]}},
        kinds.DAEMON_SETS: {"spec": SELECTING},
        kinds.REPLICATION_CONTROLLERS: {"spec": {"template": TEMPLATE}},
        kinds.JOBS: {"spec": {"template": RUN_ONCE, "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3]}}]}}},
        kinds.CRON_JOBS: {"spec": {"schedule": "*/5 * * * *", "timeZone": "Europe/Berlin", "jobTemplate": {"spec": {"template": RUN_ONCE}}}},
        kinds.SERVICES: {"spec": {"selector": {"app": "x"}, "ports": [{"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 81}]}},
        kinds.ENDPOINTS: {"subsets": [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 80}]}]},
        kinds.ENDPOINT_SLICES: {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.1.1"]}], "ports": [{"port": 80}]},
        kinds.CONFIG_MAPS: {"data": {"a": "1"}, "binaryData": {"b": "AAE="}},
        kinds.SECRETS: {"type": "kubernetes.io/tls", "data": TLS},
        kinds.SERVICE_ACCOUNTS: {"imagePullSecrets": [{"name": "a"}]},
        kinds.HORIZONTAL_POD_AUTOSCALERS: {"spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"},
                                                    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}},
        kinds.POD_DISRUPTION_BUDGETS: {"spec": {"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}}},
        kinds.PRIORITY_CLASSES: {"value": 10},
        kinds.RESOURCE_QUOTAS: {"spec": {"hard": {"configmaps": "1", "requests.cpu": "500m", "count/jobs.batch": "2"}}},
        kinds.LIMIT_RANGES: {"spec": {"limits": [{"type": "Container", "min": {"cpu": "10m"}, "max": {"cpu": "1"}}]}},
        kinds.INGRESSES: {"spec": {"rules": [{"host": "*.example.com", "http": {"paths": [
            {"path": "/a", "pathType": "Prefix", "backend": {"service": {"name": "a", "port": {"number": 80}}}}]}}],
            "tls": [{"hosts": ["a.example.com"], "secretName": "t"}]}},
        kinds.INGRESS_CLASSES: {"spec": {"controller": "example.com/a"}},
        kinds.NETWORK_POLICIES: {"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80, "endPort": 90}],
                                                                        "from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}]}},
        kinds.PERSISTENT_VOLUMES: {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}}},
        kinds.PERSISTENT_VOLUME_CLAIMS: {"spec": CLAIM},
        kinds.STORAGE_CLASSES: {"provisioner": "example.com/a"},
        kinds.ROLES: {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
        kinds.CLUSTER_ROLES: {"rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]},
        kinds.ROLE_BINDINGS: {"roleRef": {"kind": "Role", "name": "a:b"}, "subjects": [{"kind": "ServiceAccount", "name": "a"}]},
        kinds.CLUSTER_ROLE_BINDINGS: {"roleRef": {"kind": "ClusterRole", "name": "a"}, "subjects": [{"kind": "User", "name": "A b"}]},
        kinds.MUTATING_WEBHOOKS: {"webhooks": [WEBHOOK]},
        kinds.VALIDATING_WEBHOOKS: {"webhooks": [WEBHOOK]},
        kinds.CUSTOM_RESOURCE_DEFINITIONS: {
            "metadata": {"name": "things.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"}, "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}]}},
        kinds.LEASES: {"spec": {"leaseDurationSeconds": 3}},
        kinds.NAMESPACES: {}, kinds.NODES: {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
        kinds.POD_TEMPLATES: {"template": TEMPLATE}, kinds.CONTROLLER_REVISIONS: {"revision": 1, "data": {"spec": {"a": 1}}},
        kinds.VALIDATING_POLICIES: {"spec": POLICY},
        kinds.VALIDATING_POLICY_BINDINGS: {"spec": {"policyName": "good", "validationActions": ["Deny"],
                                                   "matchResources": {"objectSelector": {"matchLabels": {"app": "none"}}}}},
        kinds.EVENTS: {"involvedObject": {"namespace": "default", "kind": "Pod", "name": "a"}},
    }.items()
}  # fmt: skip


def with_(kind: Kind, **changes: Any) -> Object:
    """A copy of a good object with other values: ``spec__ports__0__port=70000``; ``GONE`` takes a field away."""
    made = copy.deepcopy(GOOD[kind])
    for place, value in changes.items():
        put(made, place.split("__"), value)
    return made


def put(target: Any, path: list[str], value: Any) -> None:
    *way, last = path
    for name in way:
        target = target[int(name)] if isinstance(target, list) else target.setdefault(name, {})
    if value is GONE:
        del target[last]
    elif isinstance(target, list):
        target[int(last)] = value
    else:
        target[last] = value
