"""What is refused although it fits its schema: it would lead out of a folder, run away, or mean nothing."""

from __future__ import annotations

from typing import Any

import pytest

from skiff.apiserver.rules import broken
from skiff.kinds import CONFIG_MAPS, DEPLOYMENTS, JOBS, PODS, ROLE_BINDINGS, SERVICES, STATEFUL_SETS, Kind


def pod(**more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": "a"}], "restartPolicy": "Always", **more}


def workload(labels: dict[str, str], **more: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": labels}, "spec": pod(**more.pop("pod", {}))}
    return {"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template, **more}}


def mounting(**mount: Any) -> dict[str, Any]:
    return {
        "containers": [{"name": "main", "volumeMounts": [{"name": "v", "mountPath": "/v", **mount}]}],
        "volumes": [{"name": "v"}],
    }


GOOD = [
    (PODS, {"spec": pod()}), (DEPLOYMENTS, workload({"app": "x", "more": "y"})), (PODS, {"spec": pod(**mounting(subPath="a/b"))}),
    (JOBS, {"spec": {"template": {"spec": pod(restartPolicy="Never")}}}),
    (STATEFUL_SETS, workload({"app": "x"}, volumeClaimTemplates=[{"metadata": {"name": "v"}}], pod=mounting() | {"volumes": []})),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "obj"), GOOD)
def test_what_is_right_is_left_alone(kind: Kind, obj: dict[str, Any]) -> None:
    assert list(broken(kind, obj, None)) == []
    assert list(broken(kind, obj, obj)) == []


@pytest.mark.parametrize(
    ("kind", "obj", "field"),
    [
        (PODS, {"spec": pod(containers=[])}, "spec.containers"),
        (PODS, {"spec": pod(containers=[{"name": "../../etc"}])}, "spec.containers[0].name"),
        (PODS, {"spec": pod(initContainers=[{"name": "main"}])}, "spec.initContainers[0].name"),
        (PODS, {"spec": pod(volumes=[{"name": "a/b"}])}, "spec.volumes[0].name"),
        (PODS, {"spec": pod(volumes=[{"name": "a", "persistentVolumeClaim": {"claimName": "x/../../y"}}])},
         "spec.volumes[0].persistentVolumeClaim.claimName"),
        (PODS, {"spec": pod(**mounting(name="other"))}, "spec.containers[0].volumeMounts[0].name"),
        (PODS, {"spec": pod(**mounting(subPath="a/../../b"))}, "spec.containers[0].volumeMounts[0].subPath"),
        (PODS, {"spec": pod(**mounting(subPath="/etc"))}, "spec.containers[0].volumeMounts[0].subPath"),
        (DEPLOYMENTS, workload({"app": "y"}), "spec.template.metadata.labels"),
        (DEPLOYMENTS, workload({"app": "x"}, pod={"restartPolicy": "Never"}), "spec.template.spec.restartPolicy"),
        (JOBS, {"spec": {"template": {"spec": pod()}}}, "spec.template.spec.restartPolicy"),
    ],
)  # fmt: skip
def test_what_would_do_harm_is_refused(kind: Kind, obj: dict[str, Any], field: str) -> None:
    assert [it[2] for it in broken(kind, obj, None)] == [field]


@pytest.mark.parametrize(
    ("kind", "old", "new", "field"),
    [
        (PODS, {"spec": pod()}, {"spec": pod(hostname="other")}, "spec"),
        (PODS, {"spec": pod(nodeName="skiff")}, {"spec": pod(nodeName="other")}, "spec"),
        (PODS, {"spec": pod()}, {"spec": pod(nodeName="skiff")}, None),
        (PODS, {"spec": pod()}, {"spec": pod(containers=[{"name": "main", "image": "b"}])}, None),
        (DEPLOYMENTS, workload({"app": "x"}), workload({"app": "x"}, selector={"matchLabels": {}}), "spec.selector"),
        (ROLE_BINDINGS, {"roleRef": {"name": "a"}}, {"roleRef": {"name": "b"}}, "roleRef"),
        (CONFIG_MAPS, {"immutable": True, "data": {"a": "1"}}, {"immutable": True, "data": {}}, "data"),
        (CONFIG_MAPS, {"data": {"a": "1"}}, {"immutable": True, "data": {}}, None),
        (SERVICES, {"spec": {"clusterIP": "10.96.0.5"}}, {"spec": {"clusterIP": "10.96.0.6"}}, "spec.clusterIPs[0]"),
        (SERVICES, {"spec": {"clusterIP": "10.96.0.5"}}, {"spec": {"type": "ExternalName"}}, None),
    ],
)  # fmt: skip
def test_what_was_settled_stays(
    kind: Kind, old: dict[str, Any], new: dict[str, Any], field: str | None
) -> None:
    assert [it[2] for it in broken(kind, new, old)] == ([field] if field else [])


@pytest.mark.finding("redteam 9: one Service with port 70000 stops the service rules of everybody")
def test_ports_of_a_service_are_ports() -> None:
    ports = [
        {"port": 70_000},
        {"port": 80, "targetPort": -1},
        {"port": 80, "targetPort": "http", "nodePort": 99_999},
    ]
    said = list(broken(SERVICES, {"spec": {"ports": ports}}, None))
    assert [it[2] for it in said] == [
        "spec.ports[0].port",
        "spec.ports[1].targetPort",
        "spec.ports[2].nodePort",
    ]
    assert not list(
        broken(SERVICES, {"spec": {"ports": [{"port": 80, "targetPort": 0, "nodePort": 0}]}}, None)
    )
