"""The rows of "Inputs that fail" that are a matter of rules, in the words that Kubernetes uses."""

from __future__ import annotations

from typing import Any

import pytest
from good_objects import GONE, GOOD, RUN_ONCE, with_

from skiff import kinds
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError
from skiff.kinds import NAMESPACES

PORTS = [{"port": 80}, {"port": 81}]
BIG = "x" * (1024 * 1024 + 1)


@pytest.mark.finding("skiff 2")
@pytest.mark.finding("skiff input 3")
@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_namespaces_that_stay(registry: Registry, name: str) -> None:
    with pytest.raises(ApiError) as said:
        await registry.delete(NAMESPACES, "", name)
    assert (said.value.code, said.value.reason) == (403, "Forbidden")
    assert said.value.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    assert not registry.get(NAMESPACES, "", name)["metadata"].get("deletionTimestamp")
    await registry.delete(NAMESPACES, "", "kube-node-lease")  # as in Kubernetes


@pytest.mark.finding("skiff 5")
@pytest.mark.parametrize(
    ("kind", "changes", "field", "message"),
    [
        pytest.param(kinds.SERVICES, {"spec__ports": PORTS}, "spec.ports[0].name", "Required value", marks=pytest.mark.finding("skiff input 12")),
        pytest.param(kinds.DEPLOYMENTS, {"spec__replicas": -1}, "spec.replicas", "Invalid value: -1: must be greater than or equal to 0",
                     marks=pytest.mark.finding("skiff input 14")),
        pytest.param(kinds.PODS, {"spec__containers__0__resources": {"requests": {"memory": "2Mi"}, "limits": {"memory": "1Mi"}}},
                     "spec.containers[0].resources.requests", 'Invalid value: "2Mi": must be less than or equal to memory limit of 1Mi',
                     marks=pytest.mark.finding("skiff input 15")),
        pytest.param(kinds.INGRESSES, {"spec__rules__0__http__paths__0__path": "nope"}, "spec.rules[0].http.paths[0].path",
                     'Invalid value: "nope": must be an absolute path', marks=pytest.mark.finding("skiff input 17")),
        pytest.param(kinds.CONFIG_MAPS, {"data": {"a": BIG}}, "", "Too long: may not be more than 1048576 bytes",
                     marks=pytest.mark.finding("skiff input 19")),
        pytest.param(kinds.SERVICES, {"metadata__name": "a" * 72}, "metadata.name", "must be no more than 63 characters",
                     marks=pytest.mark.finding("skiff input 20")),
        (kinds.SERVICES, {"spec__type": "NodePort", "spec__ports": [{"port": 80, "nodePort": 80}]}, "spec.ports[0].nodePort",
         "Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767"),
        (kinds.SECRETS, {"data": {}}, "data[tls.crt]", "Required value"),
        (kinds.CRON_JOBS, {"spec__schedule": "99 * * * *"}, "spec.schedule", 'Invalid value: "99 * * * *": end of range (99) above maximum (59): 99'),
    ],
)  # fmt: skip
async def test_invalid_objects_are_refused(
    made: Any, kind: Any, changes: Any, field: str, message: str
) -> None:
    said = await made(kind, with_(kind, **changes))
    assert any(where == field and message in what for where, what in said), said


@pytest.mark.finding("skiff 9")
@pytest.mark.finding("skiff input 25")
async def test_an_autoscaler_looks_at_the_cpu(registry: Registry) -> None:
    found = await registry.create(
        kinds.HORIZONTAL_POD_AUTOSCALERS, "default", GOOD[kinds.HORIZONTAL_POD_AUTOSCALERS]
    )
    target = {"type": "Utilization", "averageUtilization": 80}
    assert found["spec"]["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    assert found["spec"]["minReplicas"] == 1
    assert found["spec"]["behavior"]["scaleDown"]["policies"] == [
        {"type": "Percent", "value": 100, "periodSeconds": 15}
    ]


@pytest.mark.finding("skiff 9")
async def test_a_replication_controller_takes_the_labels_of_its_pods(registry: Registry) -> None:
    found = await registry.create(
        kinds.REPLICATION_CONTROLLERS, "default", GOOD[kinds.REPLICATION_CONTROLLERS]
    )
    assert found["spec"]["selector"] == found["metadata"]["labels"] == {"app": "x"}
    assert found["spec"]["replicas"] == 1


@pytest.mark.finding("issue 7 part 6")
async def test_defaults_of_the_rest(registry: Registry) -> None:
    """A sample of each group; the rest is in the objects that ``kubectl get -o yaml`` shows."""
    policy = await registry.create(
        kinds.NETWORK_POLICIES, "default", with_(kinds.NETWORK_POLICIES, spec__egress=[{}])
    )
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["ingress"][0]["ports"][0]["protocol"] == "TCP"
    pod = await registry.create(
        kinds.PODS, "default", with_(kinds.PODS, spec__hostNetwork=True, spec__securityContext={})
    )
    assert pod["spec"]["containers"][0]["ports"][0]["hostPort"] == 8080
    assert pod["spec"]["volumes"][0] == {"name": "scratch", "emptyDir": {}}
    service = await registry.create(
        kinds.SERVICES, "default", with_(kinds.SERVICES, spec__sessionAffinity="ClientIP")
    )
    assert service["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    limits = await registry.create(kinds.LIMIT_RANGES, "default", GOOD[kinds.LIMIT_RANGES])
    assert limits["spec"]["limits"][0]["defaultRequest"] == {"cpu": "1"}
    template = (await registry.create(kinds.DEPLOYMENTS, "default", with_(kinds.DEPLOYMENTS, spec__template__spec__containers__0__resources={
        "limits": {"cpu": 1}})))["spec"]["template"]["spec"]["containers"][0]  # fmt: skip
    assert template["resources"] == {"limits": {"cpu": 1}}, "requests are filled in when the pod is made"


@pytest.mark.finding("issue 7 part 6")
async def test_no_object_is_larger_than_etcd_takes(registry: Registry) -> None:
    spec = {
        "template": {
            **RUN_ONCE,
            "spec": {
                **RUN_ONCE["spec"],
                "containers": [{"name": "a", "image": "a", "args": ["x" * 1_600_000]}],
            },
        }
    }
    with pytest.raises(ApiError) as said:
        await registry.create(
            kinds.JOBS,
            "default",
            {"metadata": {"name": "big"}, "spec": {"template": {**spec["template"], "metadata": {}}}},
        )
    assert said.value.code == 413
    annotations = {"example.com/a": "x" * 262_145}
    with pytest.raises(ApiError, match=r"metadata.annotations: Too long: may not be more than 262144 bytes"):
        await registry.create(
            kinds.CONFIG_MAPS, "default", {"metadata": {"name": "a", "annotations": annotations}}
        )


@pytest.mark.finding("issue 7 part 6")
async def test_a_type_may_change_and_takes_what_it_had_with_it(changed: Any, registry: Registry) -> None:
    """Clients read a Service, change its type and send it back with everything that the other type had."""
    old = await registry.create(kinds.SERVICES, "default", with_(kinds.SERVICES, spec__type="LoadBalancer"))
    assert all(it["nodePort"] in range(30000, 32768) for it in old["spec"]["ports"])
    plain = await registry.update(
        kinds.SERVICES, "default", "good", {**old, "spec": {**old["spec"], "type": "ClusterIP"}}
    )
    left = {"allocateLoadBalancerNodePorts", "externalTrafficPolicy"} & set(plain["spec"])
    assert not left
    assert not any("nodePort" in it for it in plain["spec"]["ports"])
    outside = {**plain["spec"], "type": "ExternalName", "externalName": "example.com"}
    named = await registry.update(kinds.SERVICES, "default", "good", {**plain, "spec": outside})
    assert "clusterIP" not in named["spec"]
    assert "clusterIPs" not in named["spec"]


@pytest.mark.finding("issue 7 part 6")
async def test_an_address_or_a_port_belongs_to_one_service(registry: Registry, made: Any) -> None:
    taken = with_(
        kinds.SERVICES,
        metadata__name="one",
        spec__type="NodePort",
        spec__ports=[{"port": 80, "nodePort": 30080}],
    )
    one = await registry.create(kinds.SERVICES, "default", taken)
    said = await made(kinds.SERVICES, {**taken, "metadata": {"name": "two"}})
    assert said == [("spec.ports[0].nodePort", "Invalid value: 30080: provided port is already allocated")]
    address = one["spec"]["clusterIP"]
    [(field, message)] = await made(kinds.SERVICES, with_(kinds.SERVICES, spec__clusterIP=address))
    assert (field, "provided IP is already allocated" in message) == ("spec.clusterIPs", True)
    [(field, message)] = await made(kinds.SERVICES, with_(kinds.SERVICES, spec__clusterIP="10.0.0.12"))
    assert (field, "not in the valid range" in message) == ("spec.clusterIPs", True)


@pytest.mark.finding("issue 7 part 6")
async def test_more_faults_than_anybody_reads(made: Any) -> None:
    labels = {f"-{it}": "v" for it in range(10_000)}
    assert len(await made(kinds.CONFIG_MAPS, {"metadata": {"name": "a", "labels": labels}})) == 100
    assert await made(kinds.PODS, with_(kinds.PODS, spec__containers=GONE)) != []
