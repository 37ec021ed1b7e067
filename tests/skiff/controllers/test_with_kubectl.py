"""Do budgets, ports of the node, volumes and warnings show to a user of kubectl? One cluster for all."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = [pytest.mark.root, pytest.mark.finding("issue 7 part 5")]
NAMESPACE = "acts"
SERVE = "while :; do echo hello | busybox nc -l -p 8080; done"


@pytest.fixture(scope="module")
def it(cluster: Cluster) -> Cluster:
    cluster.kubectl("create", "namespace", NAMESPACE)
    return cluster


def deployment(name: str, script: str, replicas: int = 1, **container: Any) -> dict[str, Any]:
    shape = {"name": "main", "image": "busybox", "command": ["sh", "-c", script], **container}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [shape]}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    }  # fmt: skip


def ready(it: Cluster, name: str) -> None:
    it.kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{name}", "--timeout=60s")


@pytest.mark.finding("skiff 3")
def test_drain_waits_for_a_budget(it: Cluster) -> None:
    it.apply(deployment("kept", "sleep 1000", 2), namespace=NAMESPACE)
    ready(it, "kept")
    it.kubectl("create", "pdb", "kept", "-n", NAMESPACE, "--selector=app=kept", "--min-available=2")
    it.until(
        lambda: it.objects("pdb", "-n", NAMESPACE, "kept")[0].get("status", {}).get("currentHealthy") == 2,
        "counted",
    )
    shown = it.kubectl("get", "pdb", "kept", "-n", NAMESPACE, "--no-headers").stdout.split()
    assert shown[:4] == ["kept", "2", "N/A", "0"]
    words = (
        "drain",
        "skiff",
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--force",
        "--pod-selector=app=kept",
    )
    began = time.monotonic()
    said = it.kubectl(*words, "--timeout=2s", check=False)
    # drain itself asks again later: no header makes the client below it try ten times first
    assert time.monotonic() - began < 8
    assert said.returncode != 0
    assert "Cannot evict pod as it would violate the pod's disruption budget" in said.stdout + said.stderr
    assert len(it.objects("pods", "-n", NAMESPACE, "-l", "app=kept")) == 2
    it.kubectl("delete", "pdb", "kept", "-n", NAMESPACE)
    it.kubectl(*words, "--timeout=60s")
    waiting = it.until(
        lambda: (
            it.kubectl("get", "events", "-n", NAMESPACE, "--field-selector", "reason=FailedScheduling").stdout
        ),
        "told",
    )
    assert "1 node(s) were unschedulable" in waiting
    it.kubectl("uncordon", "skiff")
    ready(it, "kept")


@pytest.mark.finding("skiff 3")
def test_a_port_of_the_node_leads_to_its_pod(it: Cluster) -> None:
    port = {"containerPort": 8080, "hostPort": 8081}
    it.apply(deployment("door", SERVE, 2, ports=[port]), namespace=NAMESPACE)
    it.until(
        lambda: (
            it.objects("deployment", "-n", NAMESPACE, "door")[0].get("status", {}).get("readyReplicas") == 1
        ),
        "one runs",
    )
    node = next(
        a["address"]
        for a in it.objects("node", "skiff")[0]["status"]["addresses"]
        if a["type"] == "InternalIP"
    )
    asked = f"import socket; s = socket.create_connection(({node!r}, 8081), 3); print(s.recv(9).decode())"
    it.until(lambda: it.python(asked, check=False).stdout.startswith("hello"), "it answers")
    waiting = it.kubectl(
        "get", "events", "-n", NAMESPACE, "--field-selector", "reason=FailedScheduling"
    ).stdout
    assert "didn't have free ports for the requested pod ports" in waiting
    it.kubectl("delete", "deployment", "-n", NAMESPACE, "door")
    it.until(lambda: not it.python(asked, check=False).stdout, "nobody answers any more")


@pytest.mark.finding("skiff 3")
def test_a_claim_shows_its_volume_and_keeps_what_is_written(it: Cluster) -> None:
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }  # fmt: skip
    writer = deployment(
        "writer", "echo kept >> /data/file; sleep 1000", volumeMounts=[{"name": "v", "mountPath": "/data"}]
    )
    writer["spec"]["template"]["spec"]["volumes"] = [
        {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    ]
    it.apply(claim, writer, namespace=NAMESPACE)
    ready(it, "writer")
    shown = it.kubectl("get", "pvc", "data", "-n", NAMESPACE, "--no-headers").stdout.split()
    assert shown[1] == "Bound"
    assert shown[2].startswith("pvc-")
    assert f"{NAMESPACE}/data" in it.kubectl("get", "pv", shown[2], "--no-headers").stdout
    it.kubectl("rollout", "restart", "-n", NAMESPACE, "deployment/writer")
    ready(it, "writer")
    found = it.kubectl("exec", "-n", NAMESPACE, "deployment/writer", "--", "cat", "/data/file").stdout
    assert found == "kept\nkept\n"
    folder = it.home / "claims" / shown[2]
    assert folder.is_dir()
    it.kubectl("delete", "-n", NAMESPACE, "deployment/writer", "pvc/data")
    it.until(lambda: not folder.exists(), "the folder goes with its claim")


@pytest.mark.finding("skiff 3")
def test_kubectl_shows_what_has_no_effect(it: Cluster) -> None:
    backend = {"service": {"name": "a", "port": {"number": 80}}}
    front = {
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "front"}, "spec": {"defaultBackend": backend},
    }  # fmt: skip
    said = it.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(front)).stderr
    assert said.startswith("Warning: skiff: Ingress has no effect: ")


@pytest.mark.finding("skiff 3")
def test_a_cron_job_runs_by_hand_too(it: Cluster) -> None:
    it.kubectl(
        "create", "cronjob", "tick", "-n", NAMESPACE, "--image=busybox", "--schedule=0 0 1 1 *", "--", "true"
    )
    it.kubectl("create", "job", "now", "-n", NAMESPACE, "--from=cronjob/tick")
    it.kubectl("wait", "-n", NAMESPACE, "--for=condition=Complete", "job/now", "--timeout=60s")
    shown = it.kubectl("get", "cronjob", "tick", "-n", NAMESPACE, "--no-headers").stdout.split()
    assert shown[:5] == ["tick", "0", "0", "1", "1"]


@pytest.mark.finding("skiff 3")
@pytest.mark.finding("skiff input 5")
def test_a_policy_closes_pods_and_opens_what_it_allows(it: Cluster) -> None:
    port = {"containerPort": 8080, "name": "web"}
    it.apply(
        deployment("server", SERVE, ports=[port]), deployment("client", "sleep 1000"), namespace=NAMESPACE
    )
    it.kubectl("expose", "-n", NAMESPACE, "deployment/server", "--port=80", "--target-port=8080")
    ready(it, "server")
    ready(it, "client")

    def asked() -> bool:
        words = ("busybox", "nc", "-w", "1", f"server.{NAMESPACE}", "80")
        said = it.kubectl("exec", "-n", NAMESPACE, "deployment/client", "--", *words, check=False)
        return said.stdout == "hello\n"

    def policy(name: str, **spec: Any) -> dict[str, Any]:
        head = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}}
        return {**head, "spec": spec}

    it.until(asked, "it is open")
    it.apply(policy("deny", podSelector={}, policyTypes=["Ingress", "Egress"]), namespace=NAMESPACE)
    it.until(lambda: not asked(), "it is closed")
    client, server = ({"podSelector": {"matchLabels": {"app": name}}} for name in ("client", "server"))
    it.apply(
        policy("into", **server, ingress=[{"from": [client], "ports": [{"port": "web"}]}]),
        namespace=NAMESPACE,
    )
    assert not asked(), "the client may not send"
    it.apply(policy("out", **client, policyTypes=["Egress"], egress=[{"to": [server]}]), namespace=NAMESPACE)
    it.until(asked, "both sides allow it")
    it.kubectl("delete", "networkpolicy", "-n", NAMESPACE, "--all")
    it.until(asked, "it is open again")


def test_what_pods_use_scales_them(it: Cluster) -> None:
    lazy = "while :; do i=0; while [ $i -lt 999 ]; do i=$((i+1)); done; sleep 0.1; done"
    asked = {"requests": {"cpu": "1m"}}
    it.apply(deployment("hot", lazy, 1, resources=asked), namespace=NAMESPACE)
    ready(it, "hot")
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    hits = {"metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "1"}}
    hpa = {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "hot", "namespace": NAMESPACE},
        "spec": {
            "maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "hot"},
            "metrics": [{"type": "Resource", "resource": cpu}, {"type": "Pods", "pods": hits}],
        },
    }  # fmt: skip
    said = it.kubectl("apply", "-f", "-", stdin=json.dumps(hpa))
    assert "skiff: spec.metrics[1].pods has no effect: there is no custom metrics API" in said.stderr
    it.until(lambda: it.objects("deploy", "-n", NAMESPACE, "hot")[0]["spec"]["replicas"] == 3, "it grew")
    shown = it.kubectl("get", "hpa", "hot", "-n", NAMESPACE, "--no-headers").stdout
    assert "Deployment/hot" in shown
    it.until(
        lambda: "%/50%" in it.kubectl("get", "hpa", "hot", "-n", NAMESPACE, "--no-headers").stdout, "shown"
    )
    told = it.kubectl("describe", "hpa", "hot", "-n", NAMESPACE).stdout
    assert "New size: 3; reason: cpu resource utilization (percentage of request) above target" in told
    it.kubectl("delete", "hpa,deploy", "hot", "-n", NAMESPACE)
