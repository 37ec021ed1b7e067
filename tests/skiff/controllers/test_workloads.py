"""Do the controllers bring about what was asked? Asked of a running cluster, by the real kubectl."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

NAMESPACE = "work"
FOREVER = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"


@pytest.fixture(scope="module")
def it(cluster: Cluster) -> Cluster:
    cluster.kubectl("create", "namespace", NAMESPACE)
    return cluster


def template(app: str, script: str = FOREVER, **more: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox", "command": ["sh", "-c", script]}
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"terminationGracePeriodSeconds": 2, "containers": [container], **more},
    }


def workload(
    kind: str, name: str, script: str = FOREVER, pod: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {
            **({} if kind == "Job" else {"selector": {"matchLabels": {"app": name}}}),
            "template": template(name, script, **(pod or {})), **spec,
        },
    }  # fmt: skip


def one(it: Cluster, resource: str, name: str) -> dict[str, Any]:
    found = it.objects(resource, "-n", NAMESPACE, name)
    return found[0] if found else {}


def pods(it: Cluster, app: str) -> list[dict[str, Any]]:
    return it.objects("pods", "-n", NAMESPACE, "-l", f"app={app}")


def condition(obj: dict[str, Any], kind: str) -> dict[str, Any]:
    listed = obj.get("status", {}).get("conditions") or ()
    return next((c for c in listed if c["type"] == kind), {})


def rollout(it: Cluster, *words: str, check: bool = True) -> str:
    said = it.kubectl("rollout", *words, "-n", NAMESPACE, check=check)
    return said.stdout + said.stderr


def test_a_deployment_rolls_out_pauses_and_goes_back(it: Cluster) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    it.apply(workload("Deployment", "roll", replicas=2, strategy=rolling), namespace=NAMESPACE)
    rollout(it, "status", "deployment/roll", "--timeout=30s")
    names = it.kubectl("get", "pods", "-n", NAMESPACE, "-l", "app=roll", "-o", "name").stdout.split()
    assert all(
        len(part) == want for name in names for part, want in zip(name.split("-")[1:], (10, 5), strict=True)
    )

    watching = it.process(
        "kubectl", "get", "deployment", "roll", "-n", NAMESPACE, "-w", "-o", "json", "--output-watch-events"
    )
    it.kubectl("set", "env", "-n", NAMESPACE, "deployment/roll", "VERSION=2")
    rollout(it, "status", "deployment/roll", "--timeout=30s")
    watching.terminate()
    assert len(pods(it, "roll")) >= 2
    sets = it.objects("rs", "-n", NAMESPACE, "-l", "app=roll")
    assert sorted(s["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for s in sets) == [
        "1",
        "2",
    ]
    assert sorted(s["spec"]["replicas"] for s in sets) == [0, 2]
    assert "REVISION" in rollout(it, "history", "deployment/roll")

    rollout(it, "undo", "deployment/roll")
    rollout(it, "status", "deployment/roll", "--timeout=30s")
    again = one(it, "deployment", "roll")
    assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert len(it.objects("rs", "-n", NAMESPACE, "-l", "app=roll")) == 2

    rollout(it, "pause", "deployment/roll")
    it.kubectl("set", "env", "-n", NAMESPACE, "deployment/roll", "VERSION=3")
    it.kubectl("scale", "-n", NAMESPACE, "deployment/roll", "--replicas=3")
    it.until(
        lambda: one(it, "deployment", "roll")["status"].get("readyReplicas") == 3, "a paused one still scales"
    )
    assert len(it.objects("rs", "-n", NAMESPACE, "-l", "app=roll")) == 2
    assert condition(one(it, "deployment", "roll"), "Progressing")["reason"] == "DeploymentPaused"
    rollout(it, "resume", "deployment/roll")
    rollout(it, "status", "deployment/roll", "--timeout=30s")
    assert len(it.objects("rs", "-n", NAMESPACE, "-l", "app=roll")) == 3
    it.kubectl("delete", "deployment", "-n", NAMESPACE, "roll")
    it.until(lambda: not pods(it, "roll"), "its pods are gone, too")


def test_a_deployment_that_makes_no_progress_says_so(it: Cluster) -> None:
    it.apply(workload("Deployment", "stuck", script="exit 1", progressDeadlineSeconds=2), namespace=NAMESPACE)
    said = rollout(it, "status", "deployment/stuck", "--timeout=30s", check=False)
    assert "exceeded its progress deadline" in said
    it.kubectl("delete", "deployment", "-n", NAMESPACE, "stuck")


def test_replica_sets_adopt_orphan_and_heal(it: Cluster) -> None:
    lonely = {"apiVersion": "v1", "kind": "Pod", **template("adopt")}
    lonely["metadata"]["name"] = "lonely"
    it.apply(lonely, namespace=NAMESPACE)
    it.apply(workload("ReplicaSet", "adopt", replicas=2), namespace=NAMESPACE)
    it.until(lambda: one(it, "rs", "adopt")["status"].get("readyReplicas") == 2, "two are ready")
    assert len(pods(it, "adopt")) == 2
    assert one(it, "pod", "lonely")["metadata"]["ownerReferences"][0]["name"] == "adopt"
    it.kubectl("label", "pod", "-n", NAMESPACE, "lonely", "app=free", "--overwrite")
    it.until(lambda: len(pods(it, "adopt")) == 2, "the one let go is replaced")
    it.until(lambda: not one(it, "pod", "lonely")["metadata"].get("ownerReferences"), "it belongs to nobody")
    it.kubectl("delete", "rs", "-n", NAMESPACE, "adopt", "--cascade=orphan")
    left = pods(it, "adopt")
    assert len(left) == 2
    it.until(
        lambda: not any(p["metadata"].get("ownerReferences") for p in pods(it, "adopt")), "they are orphans"
    )
    it.kubectl("delete", "pods", "-n", NAMESPACE, "--all")


def test_foreground_deletion_waits_for_dependents(it: Cluster) -> None:
    it.apply(
        workload("ReplicaSet", "front", replicas=1, script="trap '' TERM; while :; do sleep 0.2; done"),
        namespace=NAMESPACE,
    )
    it.until(lambda: one(it, "rs", "front")["status"].get("readyReplicas") == 1, "it runs")
    it.kubectl("delete", "rs", "-n", NAMESPACE, "front", "--cascade=foreground", "--wait=false")
    assert one(it, "rs", "front")["metadata"]["finalizers"] == ["foregroundDeletion"]
    it.until(lambda: not pods(it, "front"), "the pod is gone")
    it.until(lambda: not one(it, "rs", "front"), "then the owner")


def test_jobs_complete_fail_expire_and_rest(it: Cluster) -> None:
    never = {"restartPolicy": "Never"}
    it.apply(workload("Job", "three", "exit 0", never, completions=3, parallelism=2), namespace=NAMESPACE)
    it.kubectl("wait", "-n", NAMESPACE, "--for=condition=complete", "job/three", "--timeout=30s")
    done = one(it, "job", "three")["status"]
    assert (done["succeeded"], done.get("failed", 0), done.get("active", 0)) == (3, 0, 0)
    assert done["completionTime"]
    assert "3/3" in it.kubectl("get", "job", "-n", NAMESPACE, "three").stdout

    it.apply(workload("Job", "bad", "exit 1", never, backoffLimit=0), namespace=NAMESPACE)
    it.kubectl("wait", "-n", NAMESPACE, "--for=condition=failed", "job/bad", "--timeout=30s")
    assert condition(one(it, "job", "bad"), "Failed")["reason"] == "BackoffLimitExceeded"

    it.apply(workload("Job", "late", FOREVER, never, activeDeadlineSeconds=2), namespace=NAMESPACE)
    it.kubectl("wait", "-n", NAMESPACE, "--for=condition=failed", "job/late", "--timeout=30s")
    assert condition(one(it, "job", "late"), "Failed")["reason"] == "DeadlineExceeded"

    it.apply(workload("Job", "short", "exit 0", never, ttlSecondsAfterFinished=1), namespace=NAMESPACE)
    it.until(lambda: not one(it, "job", "short"), "it is removed when its time is over")

    it.apply(workload("Job", "rest", "exit 0", never, suspend=True), namespace=NAMESPACE)
    it.until(
        lambda: condition(one(it, "job", "rest"), "Suspended").get("status") == "True", "it is suspended"
    )
    assert not it.objects("pods", "-n", NAMESPACE, "-l", "job-name=rest")
    it.kubectl("patch", "job", "-n", NAMESPACE, "rest", "-p", '{"spec":{"suspend":false}}')
    it.kubectl("wait", "-n", NAMESPACE, "--for=condition=complete", "job/rest", "--timeout=30s")
    it.kubectl("delete", "jobs", "-n", NAMESPACE, "--all")


def test_stateful_sets_in_order_with_their_claims(it: Cluster) -> None:
    claim = {
        "metadata": {"name": "disk"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    headless = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
        "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 1}]},
    }  # fmt: skip
    wanted = workload("StatefulSet", "db", replicas=2, serviceName="db", volumeClaimTemplates=[claim])
    wanted["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [
        {"name": "disk", "mountPath": "/disk"}
    ]
    it.apply(headless, wanted, namespace=NAMESPACE)
    rollout(it, "status", "statefulset/db", "--timeout=30s")
    assert [p["metadata"]["name"] for p in pods(it, "db")] == ["db-0", "db-1"]
    assert "Bound" in it.kubectl("get", "pvc", "-n", NAMESPACE, "disk-db-1").stdout
    look = ["exec", "-n", NAMESPACE, "db-0", "--", "sh", "-c"]
    it.kubectl(*look, "echo kept > /disk/x")
    name = f"db-1.db.{NAMESPACE}.svc.cluster.local"
    it.until(
        lambda: it.kubectl(*look, f"nslookup {name}", check=False).returncode == 0,
        "the name of a pod is known",
    )
    it.kubectl("set", "env", "-n", NAMESPACE, "statefulset/db", "VERSION=2")
    rollout(it, "status", "statefulset/db", "--timeout=30s")
    assert it.kubectl(*look, "cat /disk/x; echo $VERSION").stdout == "kept\n2\n"
    it.kubectl("scale", "-n", NAMESPACE, "statefulset/db", "--replicas=1")
    it.until(lambda: [p["metadata"]["name"] for p in pods(it, "db")] == ["db-0"], "the last one leaves")
    assert re.findall(r"^\d", rollout(it, "history", "statefulset/db"), re.MULTILINE) == ["1", "2"]
    rollout(it, "undo", "statefulset/db")
    rollout(it, "status", "statefulset/db", "--timeout=30s")
    assert it.kubectl(*look, "cat /disk/x; echo $VERSION").stdout == "kept\n\n"
    assert re.findall(r"^\d", rollout(it, "history", "statefulset/db"), re.MULTILINE) == ["2", "3"]
    folder = it.home / "claims" / f"{NAMESPACE}_disk-db-0"
    it.kubectl("delete", "pvc", "-n", NAMESPACE, "disk-db-0", "--wait=false")
    assert it.kubectl(*look, "cat /disk/x").stdout == "kept\n"  # a pod uses it
    it.kubectl("delete", "statefulset", "-n", NAMESPACE, "db")
    it.until(
        lambda: not it.objects("pvc", "-n", NAMESPACE, "disk-db-0") and not folder.exists(),
        "the claim and its files are gone",
    )


def test_a_daemon_set_and_where_pods_may_run(it: Cluster) -> None:
    it.apply(workload("DaemonSet", "every"), namespace=NAMESPACE)
    rollout(it, "status", "daemonset/every", "--timeout=30s")
    assert len(pods(it, "every")) == 1
    it.kubectl("set", "env", "-n", NAMESPACE, "daemonset/every", "VERSION=2")
    rollout(it, "status", "daemonset/every", "--timeout=30s")
    assert len(pods(it, "every")) == 1
    it.kubectl("delete", "daemonset", "-n", NAMESPACE, "every")

    picky = {"apiVersion": "v1", "kind": "Pod", **template("picky", nodeSelector={"disk": "fast"})}
    picky["metadata"]["name"] = "picky"
    it.apply(picky, namespace=NAMESPACE)
    it.until(
        lambda: condition(one(it, "pod", "picky"), "PodScheduled").get("reason") == "Unschedulable",
        "it waits",
    )
    assert (
        "didn't match Pod's node affinity/selector"
        in it.kubectl("describe", "pod", "-n", NAMESPACE, "picky").stdout
    )
    it.kubectl("label", "node", "skiff", "disk=fast")
    it.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod/picky", "--timeout=30s")
    it.kubectl("taint", "node", "skiff", "only=me:NoSchedule")
    shy = {"apiVersion": "v1", "kind": "Pod", **template("shy")}
    shy["metadata"]["name"] = "shy"
    it.apply(shy, namespace=NAMESPACE)
    it.until(
        lambda: (
            "untolerated taint {only: me}"
            in condition(one(it, "pod", "shy"), "PodScheduled").get("message", "")
        ),
        "tainted",
    )
    it.kubectl("taint", "node", "skiff", "only-")
    it.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod/shy", "--timeout=30s")
    it.kubectl("label", "node", "skiff", "disk-")
    it.kubectl("delete", "pods", "-n", NAMESPACE, "picky", "shy")


def test_a_namespace_takes_everything_with_it(it: Cluster) -> None:
    it.kubectl("create", "namespace", "brief")
    it.until(lambda: it.objects("sa", "-n", "brief", "default"), "it has its account")
    roots = it.objects("cm", "-n", "brief", "kube-root-ca.crt")[0]["data"]["ca.crt"]
    assert roots.startswith("-----BEGIN CERTIFICATE-----")
    it.apply(workload("Deployment", "web", replicas=2), namespace="brief")
    it.kubectl("rollout", "status", "-n", "brief", "deployment/web", "--timeout=30s")
    it.kubectl("delete", "namespace", "brief", "--wait", "--timeout=60s")
    assert not it.objects("pods", "-n", "brief")
    refused = it.kubectl("create", "configmap", "-n", "brief", "x", check=False)
    assert 'namespaces "brief" not found' in refused.stderr


def test_what_pods_ask_for_counts_when_the_node_is_bounded(new_cluster: type[Cluster]) -> None:
    big = {
        "containers": [
            {
                "name": "main",
                "image": "busybox",
                "command": ["sh", "-c", FOREVER],
                "resources": {"requests": {"cpu": "600m"}},
            }
        ]
    }
    with new_cluster() as it:
        it.run("skiff", "stop")
        it.start("--cpus", "1")
        for name in ("first", "second"):
            wanted = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name},
                "spec": {**big, "terminationGracePeriodSeconds": 1},
            }
            it.apply(wanted)
        it.kubectl("wait", "--for=condition=Ready", "pod/first", "--timeout=30s")
        described = it.kubectl("get", "pod", "second", "-o", "json").stdout
        assert "Insufficient cpu" in json.dumps(json.loads(described)["status"])
        it.kubectl("delete", "pod", "first")
        it.kubectl("wait", "--for=condition=Ready", "pod/second", "--timeout=30s")
