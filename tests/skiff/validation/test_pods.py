"""What is refused of pods although it fits its schema: it would lead out of a folder, run away, or mean nothing."""

from __future__ import annotations

from typing import Any

import pytest
from good_objects import CONTAINER, GONE, GOOD, POD_SPEC, TEMPLATE, with_

from skiff import kinds
from skiff.kinds import DEPLOYMENTS, JOBS, PODS, Kind

C = "spec__containers__0__"
PROBE = {"httpGet": {"port": 80, "path": "/"}}
ZONE = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
NODES = "spec__affinity__nodeAffinity__requiredDuringSchedulingIgnoredDuringExecution__nodeSelectorTerms"


@pytest.mark.finding("skiff 5")
@pytest.mark.finding("issue 7 part 6")
@pytest.mark.parametrize(
    ("kind", "changes", "field", "message"),
    [
        (PODS, {"spec__containers": []}, "spec.containers", "Required value"),
        (PODS, {f"{C}name": "../../etc"}, "spec.containers[0].name", "a lowercase RFC 1123 label must consist of"),
        (PODS, {f"{C}name": ""}, "spec.containers[0].name", "Required value"),
        (PODS, {f"{C}image": ""}, "spec.containers[0].image", "Required value"),
        (PODS, {f"{C}image": " a"}, "spec.containers[0].image", "must not have leading or trailing whitespace"),
        (PODS, {f"{C}imagePullPolicy": "Sometimes"}, "spec.containers[0].imagePullPolicy", 'Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"'),
        (PODS, {"spec__initContainers__0__name": "main"}, "spec.initContainers[0].name", 'Duplicate value: "main"'),
        (PODS, {"spec__initContainers__0__livenessProbe": PROBE}, "spec.initContainers[0].livenessProbe", "may not be set for init containers without restartPolicy=Always"),
        (PODS, {f"{C}ports": [{"containerPort": 0}]}, "spec.containers[0].ports[0].containerPort", "Required value"),
        (PODS, {f"{C}ports": [{"containerPort": 65536}]}, "spec.containers[0].ports[0].containerPort", "must be between 1 and 65535, inclusive"),
        (PODS, {f"{C}ports": [{"containerPort": 1, "name": "a" * 16}]}, "spec.containers[0].ports[0].name", "must be no more than 15 characters"),
        (PODS, {f"{C}ports": [{"containerPort": 1, "protocol": "ICMP"}]}, "spec.containers[0].ports[0].protocol", 'supported values: "SCTP", "TCP", "UDP"'),
        (PODS, {f"{C}ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}, "spec.containers[0].ports[1].name", 'Duplicate value: "a"'),
        (PODS, {f"{C}ports": [{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}]}, "spec.containers[0].ports[1].hostPort", "Duplicate value"),
        (PODS, {"spec__hostNetwork": True, f"{C}ports": [{"containerPort": 1, "hostPort": 2}], "spec__securityContext": {}},
         "spec.containers[0].ports[0].hostPort", "must match `containerPort` when `hostNetwork` is true"),
        (PODS, {f"{C}env": [{"name": "a=b"}]}, "spec.containers[0].env[0].name", "a valid environment variable name"),
        (PODS, {f"{C}env": [{"name": "a", "valueFrom": {}}]}, "spec.containers[0].env[0].valueFrom", "must specify one of: `fieldRef`"),
        (PODS, {f"{C}env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "spec.nothing"}}}]},
         "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath", "error converting fieldPath: field label not supported: spec.nothing"),
        (PODS, {f"{C}env": [{"name": "a", "value": "b", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]},
         "spec.containers[0].env[0].valueFrom", "may not be specified when `value` is not empty"),
        (PODS, {f"{C}envFrom": [{}]}, "spec.containers[0].envFrom[0]", "must specify one of: `configMapRef` or `secretRef`"),
        (PODS, {f"{C}volumeMounts__0__name": "other"}, "spec.containers[0].volumeMounts[0].name", 'Not found: "other"'),
        (PODS, {f"{C}volumeMounts__0__subPath": "a/../../b"}, "spec.containers[0].volumeMounts[0].subPath", "must not contain '..'"),
        (PODS, {f"{C}volumeMounts__0__subPath": "/etc"}, "spec.containers[0].volumeMounts[0].subPath", "must be a relative path"),
        (PODS, {f"{C}volumeMounts__0__mountPropagation": "Bidirectional"}, "spec.containers[0].volumeMounts[0].mountPropagation", "available only to privileged containers"),
        (PODS, {f"{C}volumeMounts": [{"name": "scratch", "mountPath": "/a"}] * 2}, "spec.containers[0].volumeMounts[1].mountPath", "must be unique"),
        (PODS, {f"{C}livenessProbe": {}}, "spec.containers[0].livenessProbe", "must specify a handler type"),
        (PODS, {f"{C}livenessProbe": {**PROBE, "exec": {"command": ["a"]}}}, "spec.containers[0].livenessProbe.httpGet", "may not specify more than 1 handler type"),
        (PODS, {f"{C}livenessProbe": {**PROBE, "successThreshold": 2}}, "spec.containers[0].livenessProbe.successThreshold", "must be 1"),
        (PODS, {f"{C}livenessProbe": {**PROBE, "periodSeconds": -1}}, "spec.containers[0].livenessProbe.periodSeconds", "must be greater than or equal to 0"),
        (PODS, {f"{C}livenessProbe": {"tcpSocket": {"port": 0}}}, "spec.containers[0].livenessProbe.tcpSocket.port", "must be between 1 and 65535, inclusive"),
        (PODS, {f"{C}lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}, "spec.containers[0].lifecycle.preStop.sleep.seconds", "less than terminationGracePeriodSeconds (30)"),
        (PODS, {f"{C}resources": {"limits": {"cpu": "-1"}}}, "spec.containers[0].resources.limits[cpu]", "must be greater than or equal to 0"),
        (PODS, {f"{C}resources": {"limits": {"cpu": "1x"}}}, "spec.containers[0].resources.limits[cpu]", "quantities must match the regular expression"),
        (PODS, {f"{C}resources": {"limits": {"gpu": "1"}}}, "spec.containers[0].resources.limits[gpu]", "must be a standard resource for containers"),
        (PODS, {f"{C}resources": {"requests": {"a.b/gpu": "1"}}}, "spec.containers[0].resources.limits", "Limit must be set for non overcommitable resources"),
        (PODS, {f"{C}securityContext": {"runAsUser": -1}}, "spec.containers[0].securityContext.runAsUser", "must be between 0 and 2147483647, inclusive"),
        (PODS, {f"{C}securityContext": {"procMount": "Unmasked"}}, "spec.containers[0].securityContext.procMount", "`hostUsers` must be false to use `Unmasked`"),
        (PODS, {f"{C}securityContext": {"privileged": True, "allowPrivilegeEscalation": False}}, "spec.containers[0].securityContext",
         "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"),
        (PODS, {f"{C}securityContext": {"seccompProfile": {"type": "Localhost"}}}, "spec.containers[0].securityContext.seccompProfile.localhostProfile", "must be set when"),
        (PODS, {"spec__volumes__0__name": "a/b"}, "spec.volumes[0].name", "a lowercase RFC 1123 label"),
        (PODS, {"spec__volumes__0": {"name": "scratch", "emptyDir": {}, "hostPath": {"path": "/"}}}, "spec.volumes[0].hostPath", "may not specify more than 1 volume type"),
        (PODS, {"spec__volumes__3__persistentVolumeClaim__claimName": "x/../../y"}, "spec.volumes[3].persistentVolumeClaim.claimName", "a lowercase RFC 1123 subdomain"),
        (PODS, {"spec__volumes__1__configMap__items__0__path": "../a"}, "spec.volumes[1].configMap.items[0].path", "must not contain '..'"),
        (PODS, {"spec__volumes__1__configMap__defaultMode": 0o1000}, "spec.volumes[1].configMap.defaultMode", "between 0 and 0777 (octal)"),
        (PODS, {"spec__volumes__4__hostPath__path": "/a/../b"}, "spec.volumes[4].hostPath.path", "must not contain '..'"),
        (PODS, {"spec__volumes__2__projected__sources__0__serviceAccountToken__expirationSeconds": 5},
         "spec.volumes[2].projected.sources[0].serviceAccountToken.expirationSeconds", "less than 10 minutes"),
        (PODS, {"spec__restartPolicy": "Maybe"}, "spec.restartPolicy", 'supported values: "Always", "Never", "OnFailure"'),
        (PODS, {"spec__activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds", "must be between 1 and 2147483647, inclusive"),
        (PODS, {"spec__dnsPolicy": "None", "spec__dnsConfig": GONE}, "spec.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None"),
        (PODS, {"spec__dnsConfig__nameservers": ["x"]}, "spec.dnsConfig.nameservers[0]", "must be a valid IP address"),
        (PODS, {"spec__hostAliases": [{"ip": "1.2.3"}]}, "spec.hostAliases[0].ip", "must be a valid IP address"),
        (PODS, {"spec__tolerations__0__effect": "NoSchedule"}, "spec.tolerations[0].effect", "effect must be 'NoExecute' when `tolerationSeconds` is set"),
        (PODS, {"spec__tolerations__0": {"operator": "Equal"}}, "spec.tolerations[0].operator", "operator must be Exists when `key` is empty"),
        (PODS, {NODES: []}, NODES.replace("__", "."), "must have at least one node selector term"),
        (PODS, {f"{NODES}__0__matchExpressions__0__operator": "Gt", f"{NODES}__0__matchExpressions__0__values": []},
         f"{NODES.replace('__', '.')}[0].matchExpressions[0].values", "must be specified single value"),
        (PODS, {"spec__topologySpreadConstraints": [{**ZONE, "maxSkew": 0}]}, "spec.topologySpreadConstraints[0].maxSkew", "must be greater than zero"),
        (PODS, {"spec__topologySpreadConstraints": [ZONE, ZONE]}, "spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}", "Duplicate value"),
        (PODS, {"spec__nodeSelector": {"-a": "b"}}, "spec.nodeSelector", "name part must consist of alphanumeric characters"),
        (PODS, {"spec__securityContext": {"sysctls": [{"name": "a b", "value": "1"}]}}, "spec.securityContext.sysctls[0].name", "match regex"),
        (PODS, {"spec__hostPID": True, "spec__shareProcessNamespace": True}, "spec.shareProcessNamespace", "cannot both be enabled"),
        (PODS, {"spec__ephemeralContainers": [{"name": "e", "image": "a"}]}, "spec.ephemeralContainers", "cannot be set on create"),
        (PODS, {"spec__hostname": "a.b"}, "spec.hostname", "a lowercase RFC 1123 label"),
        (DEPLOYMENTS, {"spec__template__spec__restartPolicy": "Never"}, "spec.template.spec.restartPolicy", 'Unsupported value: "Never": supported values: "Always"'),
        (DEPLOYMENTS, {"spec__template__metadata__labels": {"app": "y"}}, "spec.template.metadata.labels", "`selector` does not match template `labels`"),
        (DEPLOYMENTS, {"spec__template__spec__hostNetwork": True, "spec__template__spec__securityContext": {},
                       "spec__template__spec__containers__0__ports__0__hostPort": 1}, "spec.template.spec.containers[0].ports[0].hostPort", "must match"),
        (JOBS, {"spec__template__spec__restartPolicy": "Always", "spec__podFailurePolicy": GONE}, "spec.template.spec.restartPolicy",
         'Required value: valid values: "OnFailure", "Never"'),
    ],
)  # fmt: skip
async def test_what_a_pod_may_not_say(
    made: Any, kind: Kind, changes: dict[str, Any], field: str, message: str
) -> None:
    said = await made(kind, with_(kind, **changes))
    assert len(said) <= 2, said
    assert any(where == field and message in what for where, what in said), said


def pod(**more: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "main", "image": "a"}], **more}}


GATED = {"schedulingGates": [{"name": "a.b/c"}]}


@pytest.mark.finding("issue 7 part 6")
@pytest.mark.parametrize(
    ("old", "new", "fields"),
    [
        (pod(), pod(hostname="other"), ["spec"]),
        (pod(nodeName="skiff"), pod(nodeName="other"), ["spec"]),
        (pod(), pod(nodeName="skiff"), ["spec"]),
        (pod(), pod(containers=[{"name": "main", "image": "b"}]), []),
        (pod(), pod(containers=[{"name": "main", "image": "a", "resources": {"limits": {"cpu": "1"}}}]), ["spec"]),
        (pod(), pod(containers=[{"name": "main", "image": "a"}, {"name": "two", "image": "a"}]), ["spec.containers"]),
        (pod(), pod(terminationGracePeriodSeconds=3), ["spec"]),
        (pod(activeDeadlineSeconds=5), pod(activeDeadlineSeconds=4), []),
        (pod(activeDeadlineSeconds=5), pod(activeDeadlineSeconds=6), ["spec.activeDeadlineSeconds"]),
        (pod(activeDeadlineSeconds=5), pod(), ["spec.activeDeadlineSeconds"]),
        (pod(), pod(tolerations=[{"key": "a", "operator": "Exists"}]), []),
        (pod(tolerations=[{"key": "a", "operator": "Exists"}]), pod(), ["spec.tolerations"]),
        (pod(), pod(**GATED), ["spec.schedulingGates[0].name"]),
        (pod(**GATED), pod(nodeSelector={"a": "b"}), []),
        (pod(), pod(nodeSelector={"a": "b"}), ["spec"]),
    ],
)  # fmt: skip
async def test_what_of_a_pod_may_change(
    changed: Any, old: dict[str, Any], new: dict[str, Any], fields: list[str]
) -> None:
    assert [where for where, _ in await changed(PODS, old, new)] == fields


async def test_volumes_of_a_stateful_set_can_be_mounted(made: Any) -> None:
    mounting = {**CONTAINER, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    template = {**TEMPLATE, "spec": {**POD_SPEC, "containers": [mounting]}}
    assert await made(kinds.STATEFUL_SETS, with_(kinds.STATEFUL_SETS, spec__template=template)) == []
    assert GOOD[kinds.STATEFUL_SETS]["spec"]["template"] is TEMPLATE
