"""What is refused of everything that is no pod."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from good_objects import GONE, GOOD, WEBHOOK, with_

from skiff import kinds
from skiff.apiserver.registry import Registry
from skiff.kinds import Kind

OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u"}
PATH = "spec__rules__0__http__paths__0__"
TARGET = {"type": "Utilization", "averageUtilization": 80}
SUBSET = [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 80}, {"port": 81}]}]
FROM = "spec__ingress__0__from__0"
MANY = [{"addresses": ["10.1.1.1"]}] * 1001


def svc(**changes: Any) -> tuple[Kind, dict[str, Any]]:
    return kinds.SERVICES, {f"spec__{name}": value for name, value in changes.items()}


METADATA = [
    (kinds.CONFIG_MAPS, {"metadata__name": "A"}, "metadata.name", "a lowercase RFC 1123 subdomain must consist of"),
    (kinds.CONFIG_MAPS, {"metadata__name": "a..b"}, "metadata.name", "(e.g. 'example.com', regex used for validation is"),
    (kinds.CONFIG_MAPS, {"metadata__name": "a\n"}, "metadata.name", "a lowercase RFC 1123 subdomain"),
    (kinds.CONFIG_MAPS, {"metadata__name": "a" * 254}, "metadata.name", "must be no more than 253 characters"),
    (kinds.CONFIG_MAPS, {"metadata__name": GONE, "metadata__generateName": "A-"}, "metadata.generateName", "a lowercase RFC 1123 subdomain"),
    (kinds.NAMESPACES, {"metadata__name": "a.b"}, "metadata.name", "(e.g. 'my-name',  or '123-abc', regex used for validation is"),
    (kinds.STATEFUL_SETS, {"metadata__name": "a.b"}, "metadata.name", "a lowercase RFC 1123 label"),
    (kinds.CRON_JOBS, {"metadata__name": "a" * 53}, "metadata.name", "must be no more than 52 characters"),
    (kinds.ROLES, {"metadata__name": "a/b"}, "metadata.name", "may not contain '/'"),
    (kinds.ROLES, {"metadata__name": ".."}, "metadata.name", "may not be '..'"),
    (kinds.CONFIG_MAPS, {"metadata__labels": {"a b": "c"}}, "metadata.labels", "name part must consist of alphanumeric characters"),
    (kinds.CONFIG_MAPS, {"metadata__labels": {"a/b/c": "d"}}, "metadata.labels", "a qualified name must consist of"),
    (kinds.CONFIG_MAPS, {"metadata__labels": {"/a": "b"}}, "metadata.labels", "prefix part must be non-empty"),
    (kinds.CONFIG_MAPS, {"metadata__labels": {"a": "b" * 64}}, "metadata.labels", "must be no more than 63 characters"),
    (kinds.CONFIG_MAPS, {"metadata__labels": {"a": "b c"}}, "metadata.labels", "a valid label must be an empty string or consist of"),
    (kinds.CONFIG_MAPS, {"metadata__annotations": {"a b": ""}}, "metadata.annotations", "name part must consist of"),
    (kinds.CONFIG_MAPS, {"metadata__finalizers": ["mine"]}, "metadata.finalizers[0]", "neither a standard finalizer name nor is it fully qualified"),
    (kinds.CONFIG_MAPS, {"metadata__ownerReferences": [{**OWNER, "controller": True}] * 2}, "metadata.ownerReferences", "Only one reference can have Controller set to true"),
    (kinds.CONFIG_MAPS, {"metadata__ownerReferences": [{**OWNER, "uid": ""}]}, "metadata.ownerReferences[0].uid", "uid must not be empty"),
    (kinds.CONFIG_MAPS, {"metadata__ownerReferences": [{**OWNER, "kind": "Event"}]}, "metadata.ownerReferences[0]", "is disallowed from being an owner"),
]  # fmt: skip
SERVICES = [
    (*svc(ports=[]), "spec.ports", "Required value"),
    (*svc(ports=[{"port": 0}]), "spec.ports[0].port", "Invalid value: 0: must be between 1 and 65535, inclusive"),
    (*svc(ports=[{"port": 80, "targetPort": "a" * 16}]), "spec.ports[0].targetPort", "must be no more than 15 characters"),
    (*svc(ports=[{"port": 80, "name": "A"}]), "spec.ports[0].name", "a lowercase RFC 1123 label"),
    (*svc(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]), "spec.ports[1].name", 'Duplicate value: "a"'),
    (*svc(ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]), "spec.ports[1]", 'Duplicate value: {"protocol":"TCP","port":80}'),
    (*svc(ports=[{"port": 80, "nodePort": 30001}]), "spec.ports[0].nodePort", "Forbidden: may not be used when `type` is 'ClusterIP'"),
    (*svc(ports=[{"port": 80, "appProtocol": "a b"}]), "spec.ports[0].appProtocol", "name part must consist of"),
    (*svc(type="Magic"), "spec.type", 'supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'),
    (*svc(type="ExternalName"), "spec.externalName", "Required value"),
    (*svc(type="ExternalName", externalName="a_b"), "spec.externalName", "a lowercase RFC 1123 subdomain"),
    (*svc(type="ExternalName", externalName="a.b", clusterIP="None"), "spec.clusterIPs", "may not be set for ExternalName services"),
    (*svc(type="LoadBalancer", clusterIP="None"), "spec.clusterIPs[0]", "may not be set to 'None' for LoadBalancer services"),
    (*svc(type="LoadBalancer", ports=[{"port": 10250}]), "spec.ports[0].port", "may not expose port 10250 externally"),
    (*svc(clusterIP="nowhere"), "spec.clusterIPs[0]", "must be a valid IP address"),
    (*svc(externalIPs=["127.0.0.1"]), "spec.externalIPs[0]", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
    (*svc(externalIPs=["169.254.169.254"]), "spec.externalIPs[0]", "may not be in the link-local range"),
    (*svc(externalIPs=["0.0.0.0"]), "spec.externalIPs[0]", "may not be unspecified"),
    (*svc(externalIPs=["224.0.0.1"]), "spec.externalIPs[0]", "may not be in the link-local multicast range"),
    (*svc(externalIPs=["::ffff:127.0.0.1"]), "spec.externalIPs[0]", "may not be in the loopback range"),
    (*svc(externalIPs=["a"]), "spec.externalIPs[0]", "must be a valid IP address"),
    (*svc(sessionAffinity="Cookie"), "spec.sessionAffinity", 'supported values: "ClientIP", "None"'),
    (*svc(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 86401}}),
     "spec.sessionAffinityConfig.clientIP.timeoutSeconds", "must be greater than 0 and less than 86400"),
    (*svc(externalTrafficPolicy="Local"), "spec.externalTrafficPolicy", "may only be set for externally-accessible services"),
    (*svc(internalTrafficPolicy="Far"), "spec.internalTrafficPolicy", 'supported values: "Cluster", "Local"'),
    (*svc(loadBalancerSourceRanges=["10.0.0.0/8"]), "spec.loadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'"),
    (*svc(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0"]), "spec.loadBalancerSourceRanges[0]", "must be a valid CIDR value"),
    (*svc(healthCheckNodePort=30009), "spec.healthCheckNodePort", "may only be set when `type` is 'LoadBalancer'"),
    (*svc(ipFamilies=["IPv6"]), "spec.ipFamilies[0]", "not configured on this cluster"),
    (*svc(selector={"a": "b c"}), "spec.selector", "a valid label must be"),
    (kinds.ENDPOINTS, {"subsets": [{}]}, "subsets[0]", "must specify `addresses` or `notReadyAddresses`"),
    (kinds.ENDPOINTS, {"subsets__0__addresses__0__ip": "127.0.0.1"}, "subsets[0].addresses[0].ip", "may not be in the loopback range"),
    (kinds.ENDPOINTS, {"subsets__0__ports__0__port": 0}, "subsets[0].ports[0].port", "must be between 1 and 65535, inclusive"),
    (kinds.ENDPOINT_SLICES, {"addressType": "IPX"}, "addressType", 'supported values: "FQDN", "IPv4", "IPv6"'),
    (kinds.ENDPOINT_SLICES, {"endpoints__0__addresses": ["::1"]}, "endpoints[0].addresses[0]", "must be a valid IPv4 address"),
    (kinds.ENDPOINT_SLICES, {"endpoints__0__addresses": ["169.254.1.1"]}, "endpoints[0].addresses[0]", "may not be in the link-local range"),
    (kinds.ENDPOINT_SLICES, {"endpoints__0__addresses": []}, "endpoints[0].addresses", "must contain at least 1 address"),
    (kinds.ENDPOINT_SLICES, {"endpoints__0__addresses": ["10.1.1.1"] * 101}, "endpoints[0].addresses", "Too many: 101: must have at most 100 items"),
    (kinds.ENDPOINT_SLICES, {"endpoints": MANY}, "endpoints", "Too many: 1001: must have at most 1000 items"),
    (kinds.ENDPOINT_SLICES, {"ports": [{"port": 1}, {"port": 2}]}, "ports[1].name", 'Duplicate value: ""'),
    (kinds.ENDPOINT_SLICES, {"ports": [{"port": 70000}]}, "ports[0].port", "must be between 1 and 65535, inclusive"),
]  # fmt: skip
CONFIGURATION = [
    (kinds.CONFIG_MAPS, {"data": {"a/b": ""}}, "data[a/b]", "a valid config key must consist of alphanumeric characters"),
    (kinds.CONFIG_MAPS, {"data": {"..": ""}}, "data[..]", "must not be '..'"),
    (kinds.CONFIG_MAPS, {"data": {"..a": ""}}, "data[..a]", "must not start with '..'"),
    (kinds.CONFIG_MAPS, {"data": {"b": ""}}, "data[b]", "duplicate of key present in binaryData"),
    (kinds.CONFIG_MAPS, {"binaryData": {"b": "?"}}, "binaryData[b]", "illegal base64 data"),
    (kinds.SECRETS, {"type": "Opaque", "data": {"a": base64.b64encode(bytes(1048577)).decode()}}, "data", "Too long: may not be more than 1048576 bytes"),
    (kinds.SECRETS, {"type": "Opaque", "stringData": {"../a": ""}}, "data[../a]", "a valid config key"),
    (kinds.SECRETS, {"type": "kubernetes.io/dockerconfigjson"}, "data[.dockerconfigjson]", "Required value"),
    (kinds.SECRETS, {"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": "{"}}, "data[.dockercfg]", 'Invalid value: "<secret contents redacted>": invalid JSON'),
    (kinds.SECRETS, {"type": "kubernetes.io/ssh-auth"}, "data[ssh-privatekey]", "Required value"),
    (kinds.SECRETS, {"type": "kubernetes.io/basic-auth"}, "data[username]", "Required value"),
    (kinds.SECRETS, {"type": "kubernetes.io/service-account-token"}, "metadata.annotations[kubernetes.io/service-account.name]", "Required value"),
]  # fmt: skip
WORKLOADS = [
    (kinds.DEPLOYMENTS, {"spec__strategy__rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}, "spec.strategy.rollingUpdate.maxUnavailable", "may not be 0 when `maxSurge` is 0"),
    (kinds.DEPLOYMENTS, {"spec__strategy__rollingUpdate__maxSurge": "x"}, "spec.strategy.rollingUpdate.maxSurge", "a valid percent string"),
    (kinds.DEPLOYMENTS, {"spec__strategy__rollingUpdate__maxUnavailable": "101%"}, "spec.strategy.rollingUpdate.maxUnavailable", "must not be greater than 100%"),
    (kinds.DEPLOYMENTS, {"spec__strategy__type": "Recreate"}, "spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"),
    (kinds.DEPLOYMENTS, {"spec__minReadySeconds": 600}, "spec.progressDeadlineSeconds", "must be greater than minReadySeconds"),
    (kinds.DEPLOYMENTS, {"spec__revisionHistoryLimit": -1}, "spec.revisionHistoryLimit", "must be greater than or equal to 0"),
    (kinds.DEPLOYMENTS, {"spec__selector": {}}, "spec.selector", "empty selector is invalid"),
    (kinds.REPLICA_SETS, {"spec__selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}}, "spec.selector.matchExpressions[0].values", "must be specified when"),
    (kinds.DAEMON_SETS, {"spec__updateStrategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}, "spec.updateStrategy.rollingUpdate.maxUnavailable", "cannot be 0 when maxSurge is 0"),
    (kinds.STATEFUL_SETS, {"spec__podManagementPolicy": "Chaos"}, "spec.podManagementPolicy", 'supported values: "OrderedReady", "Parallel"'),
    (kinds.STATEFUL_SETS, {"spec__updateStrategy": {"rollingUpdate": {"partition": -1}}}, "spec.updateStrategy.rollingUpdate.partition", "must be greater than or equal to 0"),
    (kinds.STATEFUL_SETS, {"spec__volumeClaimTemplates__0__spec__accessModes": []}, "spec.volumeClaimTemplates[0].spec.accessModes", "at least 1 access mode is required"),
    (kinds.REPLICATION_CONTROLLERS, {"spec__selector": {"app": "y"}}, "spec.template.metadata.labels", "`selector` does not match template `labels`"),
    (kinds.REPLICATION_CONTROLLERS, {"spec__template": GONE, "spec__selector": {"a": "b"}}, "spec.template", "Required value"),
    (kinds.JOBS, {"spec__parallelism": -1}, "spec.parallelism", "must be greater than or equal to 0"),
    (kinds.JOBS, {"spec__completionMode": "Indexed", "spec__parallelism": 2}, "spec.completions", "when completion mode is Indexed"),
    (kinds.JOBS, {"spec__backoffLimitPerIndex": 1}, "spec.backoffLimitPerIndex", "requires indexed completion mode"),
    (kinds.JOBS, {"spec__podFailurePolicy__rules__0": {"action": "FailJob"}}, "spec.podFailurePolicy.rules[0].onExitCodes", "specifying one of OnExitCodes and OnPodConditions is required"),
    (kinds.CRON_JOBS, {"spec__schedule": "TZ=UTC * * * * *"}, "spec.schedule", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
    (kinds.CRON_JOBS, {"spec__timeZone": "Mars/Base"}, "spec.timeZone", "unknown time zone Mars/Base"),
    (kinds.CRON_JOBS, {"spec__timeZone": "../etc"}, "spec.timeZone", "unknown time zone ../etc"),
    (kinds.CRON_JOBS, {"spec__timeZone": "Local"}, "spec.timeZone", "timeZone must be an explicit time zone"),
    (kinds.CRON_JOBS, {"spec__concurrencyPolicy": "Maybe"}, "spec.concurrencyPolicy", 'supported values: "Allow", "Forbid", "Replace"'),
    (kinds.CRON_JOBS, {"spec__failedJobsHistoryLimit": -1}, "spec.failedJobsHistoryLimit", "must be greater than or equal to 0"),
    (kinds.CRON_JOBS, {"spec__jobTemplate__spec__selector": {"matchLabels": {"a": "b"}}}, "spec.jobTemplate.spec.selector", "`selector` will be auto-generated"),
]  # fmt: skip
OTHERS = [
    (kinds.HORIZONTAL_POD_AUTOSCALERS, {"spec__minReplicas": 5}, "spec.maxReplicas", "must be greater than or equal to `minReplicas`"),
    (kinds.HORIZONTAL_POD_AUTOSCALERS, {"spec__minReplicas": 0}, "spec.minReplicas", "must be greater than or equal to 1"),
    (kinds.HORIZONTAL_POD_AUTOSCALERS, {"spec__maxReplicas": 0, "spec__minReplicas": 1}, "spec.maxReplicas", "must be greater than zero"),
    (kinds.HORIZONTAL_POD_AUTOSCALERS, {"spec__metrics": [{"type": "Pods"}]}, "spec.metrics[0].pods", "must populate information for the given metric source"),
    (kinds.HORIZONTAL_POD_AUTOSCALERS, {"spec__metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Value"}}}]},
     "spec.metrics[0].resource.target.averageUtilization", "must set either a target value"),
    (kinds.HORIZONTAL_POD_AUTOSCALERS, {"spec__behavior__scaleDown__stabilizationWindowSeconds": 3601}, "spec.behavior.scaleDown.stabilizationWindowSeconds", "less than or equal to 3600"),
    (kinds.POD_DISRUPTION_BUDGETS, {"spec__maxUnavailable": 1}, "spec", "minAvailable and maxUnavailable cannot be both set"),
    (kinds.POD_DISRUPTION_BUDGETS, {"spec__minAvailable": "101%"}, "spec.minAvailable", "must not be greater than 100%"),
    (kinds.POD_DISRUPTION_BUDGETS, {"spec__minAvailable": -1}, "spec.minAvailable", "must be greater than or equal to 0"),
    (kinds.PRIORITY_CLASSES, {"value": 1_000_000_001}, "value", "maximum allowed value of a user defined priority is 1000000000"),
    (kinds.PRIORITY_CLASSES, {"metadata__name": "system-mine"}, "metadata.name", "reserved for system use only"),
    (kinds.RESOURCE_QUOTAS, {"spec__hard": {"cats": "1"}}, "spec.hard[cats]", "must be a standard resource for quota"),
    (kinds.RESOURCE_QUOTAS, {"spec__hard": {"pods": "1500m"}}, "spec.hard[pods]", "must be an integer"),
    (kinds.RESOURCE_QUOTAS, {"spec__scopes": ["Terminating", "NotTerminating"]}, "spec.scopes", "conflicting scopes"),
    (kinds.LIMIT_RANGES, {"spec__limits__0__min": {"cpu": "2"}, "spec__limits__0__default": {"cpu": "1"}, "spec__limits__0__defaultRequest": {"cpu": "2"},
                          "spec__limits__0__max": {"cpu": "3"}}, "spec.limits[0].min[cpu]", "min value 2 is greater than default value 1"),
    (kinds.LIMIT_RANGES, {"spec__limits__0__type": "Planet"}, "spec.limits[0].type", "must be a standard limit type"),
    (kinds.INGRESSES, {f"{PATH}pathType": "Regex"}, "spec.rules[0].http.paths[0].pathType", 'supported values: "Exact", "ImplementationSpecific", "Prefix"'),
    (kinds.INGRESSES, {f"{PATH}path": "/a//b"}, "spec.rules[0].http.paths[0].path", "must not contain '//'"),
    (kinds.INGRESSES, {f"{PATH}backend": {}}, "spec.rules[0].http.paths[0].backend", "resource or service backend is required"),
    (kinds.INGRESSES, {f"{PATH}backend__service__port": {"number": 1, "name": "a"}}, "spec.rules[0].http.paths[0].backend.service", "cannot set both port name & port number"),
    (kinds.INGRESSES, {"spec__rules__0__host": "10.0.0.1"}, "spec.rules[0].host", "must be a DNS name, not an IP address"),
    (kinds.INGRESSES, {"spec__rules__0__host": "a.*.b"}, "spec.rules[0].host", "a wildcard DNS-1123 subdomain must start with '*.'"),
    (kinds.INGRESSES, {"spec": {}}, "spec", "either `defaultBackend` or `rules` must be specified"),
    (kinds.INGRESS_CLASSES, {"spec__controller": "plain"}, "spec.controller", "must be a domain-prefixed path"),
    (kinds.NETWORK_POLICIES, {"spec__ingress__0__ports__0__endPort": 70}, "spec.ingress[0].ports[0].endPort", "must be greater than or equal to `port`"),
    (kinds.NETWORK_POLICIES, {f"{FROM}__ipBlock__except": ["11.0.0.0/8"]}, "spec.ingress[0].from[0].ipBlock.except[0]", "must be a strict subset of `cidr`: 10.0.0.0/8"),
    (kinds.NETWORK_POLICIES, {FROM: {}}, "spec.ingress[0].from[0]", "must specify a peer"),
    (kinds.NETWORK_POLICIES, {f"{FROM}__podSelector": {}}, "spec.ingress[0].from[0]", "may not specify both ipBlock and another peer"),
    (kinds.NETWORK_POLICIES, {"spec__policyTypes": ["Sideways"]}, "spec.policyTypes[0]", 'supported values: "Egress", "Ingress"'),
    (kinds.PERSISTENT_VOLUMES, {"spec__capacity": {"storage": "0"}}, "spec.capacity[storage]", "must be greater than zero"),
    (kinds.PERSISTENT_VOLUMES, {"spec__hostPath": GONE}, "spec", "must specify a volume type"),
    (kinds.PERSISTENT_VOLUME_CLAIMS, {"spec__resources": {}}, "spec.resources[storage]", "Required value"),
    (kinds.PERSISTENT_VOLUME_CLAIMS, {"spec__accessModes": ["ReadSometimes"]}, "spec.accessModes", "Unsupported value"),
    (kinds.STORAGE_CLASSES, {"reclaimPolicy": "Keep"}, "reclaimPolicy", 'supported values: "Delete", "Retain"'),
    (kinds.ROLES, {"rules__0__verbs": []}, "rules[0].verbs", "verbs must contain at least one value"),
    (kinds.ROLES, {"rules": [{"nonResourceURLs": ["/a"], "verbs": ["get"]}]}, "rules[0].nonResourceURLs", "namespaced rules cannot apply to non-resource URLs"),
    (kinds.ROLES, {"rules__0__apiGroups": []}, "rules[0].apiGroups", "resource rules must supply at least one api group"),
    (kinds.ROLE_BINDINGS, {"roleRef__kind": "Boss"}, "roleRef.kind", 'supported values: "ClusterRole", "Role"'),
    (kinds.ROLE_BINDINGS, {"subjects__0__kind": "Robot"}, "subjects[0].kind", 'supported values: "Group", "ServiceAccount", "User"'),
    (kinds.CLUSTER_ROLE_BINDINGS, {"subjects": [{"kind": "ServiceAccount", "name": "a"}]}, "subjects[0].namespace", "Required value"),
    (kinds.VALIDATING_WEBHOOKS, {"webhooks__0__name": "a.b"}, "webhooks[0].name", "should be a domain with at least three segments separated by dots"),
    (kinds.VALIDATING_WEBHOOKS, {"webhooks__0__clientConfig": {"url": "http://a/b"}}, "webhooks[0].clientConfig.url", "'https' is the only allowed URL scheme"),
    (kinds.VALIDATING_WEBHOOKS, {"webhooks__0__clientConfig": {}}, "webhooks[0].clientConfig", "exactly one of url or service is required"),
    (kinds.VALIDATING_WEBHOOKS, {"webhooks__0__timeoutSeconds": 31}, "webhooks[0].timeoutSeconds", "the timeout value must be between 1 and 30 seconds"),
    (kinds.VALIDATING_WEBHOOKS, {"webhooks__0__sideEffects": "Some"}, "webhooks[0].sideEffects", 'supported values: "None", "NoneOnDryRun"'),
    (kinds.MUTATING_WEBHOOKS, {"webhooks": [WEBHOOK, WEBHOOK]}, "webhooks[1].name", "Duplicate value"),
    (kinds.MUTATING_WEBHOOKS, {"webhooks__0__rules__0__operations": ["*", "CREATE"]}, "webhooks[0].rules[0].operations", "if '*' is present, must not specify other operations"),
    (kinds.CUSTOM_RESOURCE_DEFINITIONS, {"spec__versions__0__schema": GONE}, "spec.versions[0].schema.openAPIV3Schema", "schemas are required"),
    (kinds.CUSTOM_RESOURCE_DEFINITIONS, {"spec__scope": "Galaxy"}, "spec.scope", 'supported values: "Cluster", "Namespaced"'),
    (kinds.LEASES, {"spec__leaseDurationSeconds": 0}, "spec.leaseDurationSeconds", "must be greater than 0"),
    (kinds.NODES, {"spec__taints__0__effect": "Never"}, "spec.taints[0].effect", "Unsupported value"),
    (kinds.EVENTS, {"involvedObject__namespace": "other"}, "involvedObject.namespace", "does not match event.namespace"),
]  # fmt: skip


@pytest.mark.finding("skiff 5")
@pytest.mark.finding("issue 7 part 6")
@pytest.mark.parametrize(
    ("kind", "changes", "field", "message"), [*METADATA, *SERVICES, *CONFIGURATION, *WORKLOADS, *OTHERS]
)
async def test_what_an_object_may_not_say(
    made: Any, kind: Kind, changes: dict[str, Any], field: str, message: str
) -> None:
    said = await made(kind, with_(kind, **changes))
    assert said[0][0] == field, said
    assert message in said[0][1]
    assert len(said) <= 2, said


@pytest.mark.finding("redteam 9: one Service with port 70000 stops the service rules of everybody")
async def test_ports_of_a_service_are_ports(made: Any) -> None:
    ports = [
        {"port": 70_000},
        {"port": 80, "targetPort": -1},
        {"port": 80, "targetPort": "http", "nodePort": 99_999},
    ]
    said = [field for field, _ in await made(kinds.SERVICES, with_(kinds.SERVICES, spec__ports=ports))]
    assert {"spec.ports[0].port", "spec.ports[1].targetPort", "spec.ports[2].nodePort"} <= set(said)
    assert (
        await made(
            kinds.SERVICES, with_(kinds.SERVICES, spec__ports=[{"port": 80, "targetPort": 0, "nodePort": 0}])
        )
        == []
    )


@pytest.mark.finding("issue 7 part 6")
@pytest.mark.parametrize(
    ("kind", "changes", "field"),
    [
        (kinds.DEPLOYMENTS, {"spec__selector": {"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "app", "operator": "Exists"}]}}, "spec.selector"),
        (kinds.STATEFUL_SETS, {"spec__serviceName": "other"}, "spec"),
        (kinds.STATEFUL_SETS, {"spec__replicas": 4}, None),
        (kinds.JOBS, {"spec__template__spec__restartPolicy": "OnFailure", "spec__podFailurePolicy": GONE}, "spec.podFailurePolicy"),
        (kinds.JOBS, {"spec__completions": 7}, "spec.completions"),
        (kinds.JOBS, {"spec__parallelism": 7, "spec__completions": 1}, None),
        (kinds.SECRETS, {"type": "Opaque"}, "type"),
        (kinds.ROLE_BINDINGS, {"roleRef__name": "b"}, "roleRef"),
        (kinds.SERVICES, {"spec__clusterIP": "10.96.77.77"}, "spec.clusterIPs[0]"),
        (kinds.SERVICES, {"spec__type": "ExternalName", "spec__externalName": "a.b"}, None),
        (kinds.PERSISTENT_VOLUME_CLAIMS, {"spec__accessModes": ["ReadOnlyMany"]}, "spec"),
        (kinds.PERSISTENT_VOLUME_CLAIMS, {"spec__resources__requests__storage": "1Mi"}, "spec.resources.requests.storage"),
        (kinds.PERSISTENT_VOLUMES, {"spec__hostPath__path": "/other"}, "spec.persistentvolumesource"),
        (kinds.STORAGE_CLASSES, {"provisioner": "example.com/b"}, "provisioner"),
        (kinds.PRIORITY_CLASSES, {"value": 11}, "value"),
        (kinds.INGRESS_CLASSES, {"spec__controller": "example.com/b"}, "spec.controller"),
        (kinds.ENDPOINT_SLICES, {"addressType": "IPv6", "endpoints": []}, "addressType"),
        (kinds.CUSTOM_RESOURCE_DEFINITIONS, {"spec__scope": "Cluster"}, "spec.scope"),
        (kinds.CONFIG_MAPS, {"metadata__creationTimestamp": "2001-01-01T00:00:00Z"}, "metadata.creationTimestamp"),
        (kinds.CONFIG_MAPS, {"metadata__deletionTimestamp": "2001-01-01T00:00:00Z"}, "metadata.deletionTimestamp"),
    ],
)  # fmt: skip
async def test_what_was_settled_stays(
    changed: Any, kind: Kind, changes: dict[str, Any], field: str | None
) -> None:
    said = [where for where, _ in await changed(kind, GOOD[kind], with_(kind, **changes))]
    assert said[:1] == ([field] if field else [])


async def test_what_is_immutable_stays(changed: Any, registry: Registry) -> None:
    fixed = {**GOOD[kinds.CONFIG_MAPS], "immutable": True}
    assert await changed(kinds.CONFIG_MAPS, fixed, {**fixed, "data": {}}) == [
        ("data", "Forbidden: field is immutable when `immutable` is set")
    ]
    loose = {**GOOD[kinds.SECRETS], "metadata": {"name": "other"}}
    assert await changed(kinds.SECRETS, loose, {**loose, "immutable": True}) == []


@pytest.mark.finding("issue 7 part 6")
async def test_who_is_on_the_way_out_gets_no_new_finalizers(registry: Registry, changed: Any) -> None:
    held = with_(kinds.CONFIG_MAPS, metadata__finalizers=["example.com/a"], metadata__name="held")
    await registry.create(kinds.CONFIG_MAPS, "default", held)
    leaving = await registry.delete(kinds.CONFIG_MAPS, "default", "held")
    more = {**leaving, "metadata": {**leaving["metadata"], "finalizers": ["example.com/a", "example.com/b"]}}
    with pytest.raises(Exception, match="no new finalizers can be added if the object is being deleted"):
        await registry.update(kinds.CONFIG_MAPS, "default", "held", more)
    fewer = {**leaving, "metadata": {**leaving["metadata"], "finalizers": []}}
    await registry.update(kinds.CONFIG_MAPS, "default", "held", fewer)
    assert registry.store.get(kinds.CONFIG_MAPS.storage, "default", "held") is None


@pytest.mark.finding("issue 7 part 6")
async def test_another_name_in_the_body_is_no_slip(changed: Any) -> None:
    [(_, said)] = await changed(
        kinds.CONFIG_MAPS, GOOD[kinds.CONFIG_MAPS], with_(kinds.CONFIG_MAPS, metadata__name="other")
    )
    assert said == "the name of the provided object does not match the name on the URL: other is not good"


@pytest.mark.finding("issue 7 part 6")
@pytest.mark.parametrize(
    ("resources", "own", "found"),
    [
        ({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}, {},
         [("spec.resources.requests", 'Invalid value: "2": must be less than or equal to cpu limit of 1')]),
        ({"limits": {"storage": "1"}}, {},
         [("spec.resources.limits[storage]", 'Unsupported value: "storage": supported values: "cpu", "memory"')]),
        ({"requests": {"cpu": "500m"}}, {"requests": {"cpu": "600m"}},
         [("spec.resources.requests[cpu]",
           'Invalid value: "500m": must be greater than or equal to aggregate container requests of 600m')]),
        ({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "2Gi"}},
         [("spec.containers[0][memory].limits", 'Invalid value: "2Gi": must be less than or equal to pod limits of 1Gi')]),
        ({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1"}}, {"requests": {"cpu": "1"}}, []),
    ],
)  # fmt: skip
async def test_resources_of_a_whole_pod(made: Any, resources: Any, own: Any, found: Any) -> None:
    pod = with_(kinds.PODS, spec__resources=resources)
    pod["spec"]["containers"][0]["resources"] = own
    assert await made(kinds.PODS, pod) == found


@pytest.mark.finding("issue 7 part 6")
async def test_templates_and_revisions_are_looked_at(made: Any, changed: Any) -> None:
    template = {"metadata": {"name": "t"}, "template": {"metadata": {"labels": {"a": "b b"}}, "spec": {"containers": [
        {"name": "A", "image": "i"}]}}}  # fmt: skip
    places = {place for place, _ in await made(kinds.POD_TEMPLATES, template)}
    assert places == {"template.labels", "template.spec.containers[0].name"}
    revision = {"metadata": {"name": "r"}, "revision": 1, "data": {"a": 1}}
    assert await made(kinds.CONTROLLER_REVISIONS, {**revision, "revision": -1}) == [
        ("revision", "Invalid value: -1: must be greater than or equal to 0")
    ]
    assert await changed(kinds.CONTROLLER_REVISIONS, revision, {**revision, "revision": 2}) == []
    assert (await changed(kinds.CONTROLLER_REVISIONS, {**revision, "metadata": {"name": "s"}},
                          {**revision, "metadata": {"name": "s"}, "data": {}}))[0][0] == "data"  # fmt: skip
