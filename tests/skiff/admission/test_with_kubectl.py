"""Admission as a user meets it: a real cluster, the real kubectl."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = [pytest.mark.root, pytest.mark.finding("skiff 3"), pytest.mark.finding("issue 7 part 5")]

NAMESPACE = "admitted"

_POD = {
    "terminationGracePeriodSeconds": 0,
    "containers": [{"name": "c", "image": "busybox:1", "command": ["sleep", "1000"]}],
}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "d"}}, "template": {"metadata": {"labels": {"a": "d"}}, "spec": _POD}},
}  # fmt: skip


def said(it: Any) -> str:
    return str(it.stdout + it.stderr).strip()


@pytest.fixture(scope="module")
def it(cluster: Cluster) -> Any:
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_a_quota_is_kept_told_and_the_reason_of_what_is_missing(it: Cluster) -> None:
    it.kubectl("-n", NAMESPACE, "create", "quota", "q", "--hard=pods=1,secrets=1,count/deployments.apps=1")

    def used() -> Any:
        found = it.objects("resourcequota", "q", "-n", NAMESPACE)[0]
        return (found.get("status") or {}).get("used")

    it.until(
        lambda: used() == {"pods": "0", "secrets": "0", "count/deployments.apps": "0"},
        "the quota tells what is used",
    )
    it.kubectl("-n", NAMESPACE, "create", "secret", "generic", "a")
    refused = it.kubectl("-n", NAMESPACE, "create", "secret", "generic", "b", check=False)
    assert said(refused).endswith(
        "exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1"
    )
    it.kubectl(
        "-n",
        NAMESPACE,
        "create",
        "deployment",
        "d",
        "--image=busybox:1",
        "--replicas=2",
        "--",
        "sleep",
        "1000",
    )
    it.until(
        lambda: used() == {"pods": "1", "secrets": "1", "count/deployments.apps": "1"}, "the quota counts"
    )
    it.until(
        lambda: "exceeded quota: q" in said(it.kubectl("-n", NAMESPACE, "get", "events")),
        "an event says why a pod is missing",
    )
    it.kubectl("-n", NAMESPACE, "delete", "deployment", "d", "--wait=false")
    it.kubectl("-n", NAMESPACE, "delete", "pods", "--all", "--force", "--grace-period=0")
    it.until(
        lambda: used() == {"pods": "0", "secrets": "1", "count/deployments.apps": "0"},
        "the quota forgets what is gone",
    )
    assert "secrets" in said(it.kubectl("-n", NAMESPACE, "describe", "quota", "q"))
    it.kubectl("-n", NAMESPACE, "delete", "quota", "q")


def test_a_namespace_with_a_standard(it: Cluster) -> None:
    it.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    refused = it.kubectl("-n", NAMESPACE, "run", "p", "--image=busybox:1", "--privileged", check=False)
    assert 'violates PodSecurity "restricted:latest": privileged (container "p" must not set' in said(refused)
    made = it.kubectl("-n", NAMESPACE, "create", "deployment", "x", "--image=busybox:1", "--replicas=0")
    assert "Warning: would violate PodSecurity" in said(made)
    it.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce-")


def test_a_policy_and_its_binding(it: Cluster) -> None:
    rules = [
        {
            "apiGroups": ["apps"],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["deployments"],
        }
    ]
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "object.spec.replicas <= 5"}],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    binding = {
        "policyName": "few",
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": selector},
    }
    group = "admissionregistration.k8s.io/v1"
    it.apply(
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "few"}, "spec": spec},
        {
            "apiVersion": group,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "few"},
            "spec": binding,
        },
    )
    refused = it.kubectl(
        "-n", NAMESPACE, "create", "deployment", "many", "--image=i", "--replicas=6", check=False
    )
    assert (
        "ValidatingAdmissionPolicy 'few' with binding 'few' denied request: failed expression: object.spec.replicas <= 5"
        in said(refused)
    )
    assert "few" in said(it.kubectl("get", "validatingadmissionpolicies"))
    assert "FIELDS" in said(it.kubectl("explain", "validatingadmissionpolicy.spec"))
    it.kubectl("delete", "validatingadmissionpolicy/few", "validatingadmissionpolicybinding/few")


def test_a_class_and_its_priority(it: Cluster) -> None:
    assert "2000001000" in said(it.kubectl("get", "priorityclass", "system-node-critical"))
    pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    pod["spec"] = {
        "containers": [{"name": "c", "image": "busybox:1"}],
        "priorityClassName": "system-cluster-critical",
    }
    made = it.kubectl(
        "-n", NAMESPACE, "create", "-o", "json", "--dry-run=server", "-f", "-", stdin=json.dumps(pod)
    )
    assert json.loads(made.stdout)["spec"]["priority"] == 2_000_000_000
