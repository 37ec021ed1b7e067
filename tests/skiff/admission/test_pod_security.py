"""Pod Security Standards: what the labels of a namespace forbid, and in which words."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from skiff.admission.pod_security_checks import violations
from skiff.apiserver import context
from skiff.kinds import DEPLOYMENTS, NAMESPACES, PODS

if TYPE_CHECKING:
    from .conftest import Served

pytestmark = [
    pytest.mark.finding("skiff 3"),
    pytest.mark.finding("security 10"),
    pytest.mark.finding("skiff input 9"),
    pytest.mark.finding("issue 7 part 5"),
]

SAFE: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [{"name": "c", "image": "i", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}],
}  # fmt: skip


def spec(context: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "containers": [{"name": "c", "image": "i", **({"securityContext": context} if context else {})}],
        **more,
    }


def said(level: str, spec: dict[str, Any], version: str = "latest", **metadata: Any) -> str:
    return ", ".join(f"{what} ({detail})" for what, detail in violations(level, version, metadata, spec))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (spec({"privileged": True}), 'privileged (container "c" must not set securityContext.privileged=true)'),
        (spec(hostNetwork=True, hostPID=True), "host namespaces (hostNetwork=true, hostPID=true)"),
        (spec({"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}}), 'non-default capabilities (container "c" must not include "NET_ADMIN" in securityContext.capabilities.add)'),
        (spec(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), 'hostPath volumes (volume "v")'),
        ({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 81}]}]}, 'hostPort (container "c" uses hostPorts 80, 81)'),
        (spec({"procMount": "Unmasked"}), 'procMount (container "c" must not set securityContext.procMount to "Unmasked")'),
        (spec({"seLinuxOptions": {"type": "spc_t", "user": "u"}}), 'seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set)'),
        (spec(securityContext={"seccompProfile": {"type": "Unconfined"}}), 'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")'),
        (spec(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}, {"name": "net.ipv4.tcp_rmem", "value": "1"}]}), "forbidden sysctls (kernel.msgmax)"),
        (spec({"windowsOptions": {"hostProcess": True}}), 'hostProcess (container "c" must not set securityContext.windowsOptions.hostProcess=true)'),
        (spec({"appArmorProfile": {"type": "Unconfined"}}), 'forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")'),
        ({"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "h", "port": 1}}}]}, 'probe or lifecycle host (container "c" uses probe or lifecycle host "h")'),
        ({"containers": [{"name": "c"}], "initContainers": [{"name": "i", "securityContext": {"privileged": True}}, {"name": "j", "securityContext": {"privileged": True}}]},
         'privileged (containers "i", "j" must not set securityContext.privileged=true)'),
    ],
    ids=lambda it: it.split(" (")[0] if isinstance(it, str) else "",
)  # fmt: skip
def test_what_baseline_forbids(bad: dict[str, Any], words: str) -> None:
    assert said("baseline", bad) == words
    assert (
        words.split(" (", maxsplit=1)[0].split("=", maxsplit=1)[0] in said("restricted", bad)
        or "capabilities" in words
        or "hostPath" in words
    )
    assert said("privileged", bad) == ""


def test_what_restricted_forbids() -> None:
    assert said("restricted", SAFE) == ""
    assert said("restricted", spec()) == (
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )
    assert said(
        "restricted", {**SAFE, "volumes": [{"name": "v", "nfs": {}}, {"name": "w", "emptyDir": {}}]}
    ) == ('restricted volume types (volume "v" uses restricted volume type "nfs")')
    assert (
        said("restricted", {**SAFE, "securityContext": {**SAFE["securityContext"], "runAsUser": 0}})
        == "runAsUser=0 (pod must not set runAsUser=0)"
    )
    added = json.loads(json.dumps(SAFE))
    added["containers"][0]["securityContext"]["capabilities"]["add"] = ["CHOWN", "NET_BIND_SERVICE"]
    assert (
        said("restricted", added)
        == 'unrestricted capabilities (container "c" must not include "CHOWN" in securityContext.capabilities.add)'
    )
    root = {**SAFE, "securityContext": {**SAFE["securityContext"], "runAsNonRoot": False}}
    assert (
        said("restricted", root)
        == "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"
    )


def test_versions() -> None:
    rmem = spec(securityContext={"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]})
    assert said("baseline", rmem, "v1.32") == ""
    assert said("baseline", rmem, "v1.31") == "forbidden sysctls (net.ipv4.tcp_rmem)"
    assert "capabilities" not in said("restricted", spec(), "v1.21")
    assert (
        said("restricted", spec(), "v1.7")
        == 'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)'
    )


def test_a_pod_that_its_namespace_forbids(served: Served) -> None:
    served.made(
        NAMESPACES,
        {"metadata": {"name": "strict", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
    )
    _account(served, "strict")
    refused = served.refused(
        lambda: served.made(PODS, {"metadata": {"name": "p"}, "spec": spec({"privileged": True})}, "strict")
    )
    assert refused.code == 403
    assert refused.message.startswith(
        'pods "p" is forbidden: violates PodSecurity "restricted:latest": privileged (container "c" must not'
    )
    assert served.made(PODS, {"metadata": {"name": "p"}, "spec": SAFE}, "strict")
    assert served.made(PODS, {"metadata": {"name": "p"}, "spec": spec({"privileged": True})})


def _account(served: Served, namespace: str) -> None:
    from skiff.kinds import SERVICE_ACCOUNTS

    served.made(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, namespace)


def warned(call: Any) -> list[str]:
    told: list[str] = []
    token = context.WARNINGS.set(told)
    try:
        call()
    finally:
        context.WARNINGS.reset(token)
    return told


def test_templates_and_the_mode_warn_only_warn(served: Served) -> None:
    labels = {
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/warn-version": "v1.25",
    }
    served.made(NAMESPACES, {"metadata": {"name": "strict", "labels": labels}})
    _account(served, "strict")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": spec({"privileged": True})}
    deployment = {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    told = warned(lambda: served.made(DEPLOYMENTS, deployment, "strict"))
    assert told[0].startswith('would violate PodSecurity "restricted:v1.25": privileged (container "c"')
    told = warned(lambda: served.made(PODS, {"metadata": {"name": "p"}, "spec": spec()}, "strict"))
    assert told[0].startswith('would violate PodSecurity "restricted:v1.25": allowPrivilegeEscalation')
    stored = served.get(PODS, "strict", "p")
    assert (
        warned(lambda: served.put(PODS, {**stored, "metadata": {**stored["metadata"], "labels": {"x": "y"}}}))
        == []
    )


def test_a_namespace_that_becomes_stricter_tells_whom_it_would_refuse(served: Served) -> None:
    for name in ("b", "a"):
        served.made(PODS, {"metadata": {"name": name}, "spec": spec()})
    served.made(PODS, {"metadata": {"name": "c"}, "spec": SAFE})
    namespace = served.get(NAMESPACES, "", "default")
    labels = {**namespace["metadata"]["labels"], "pod-security.kubernetes.io/enforce": "restricted"}
    told = warned(
        lambda: served.put(NAMESPACES, {**namespace, "metadata": {**namespace["metadata"], "labels": labels}})
    )
    assert told == [
        'existing pods in namespace "default" violate the new PodSecurity enforce level "restricted:latest"',
        "a (and 1 other pod): allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile",
    ]


@pytest.mark.parametrize(
    ("label", "value"),
    [("enforce", "strict"), ("warn-version", "v2"), ("audit", ""), ("enforce-version", "1.25")],
)
def test_labels_that_are_none(served: Served, label: str, value: str) -> None:
    made = {"metadata": {"name": "x", "labels": {f"pod-security.kubernetes.io/{label}": value}}}
    refused = served.refused(lambda: served.made(NAMESPACES, made))
    assert refused.code == 422
    assert f"metadata.labels[pod-security.kubernetes.io/{label}]" in refused.message


def test_many_pods_do_not_hold_up_a_change_of_labels(served: Served) -> None:
    for number in range(4000):
        served.store.put(
            PODS.storage, {"metadata": {"name": f"p{number}", "namespace": "default"}, "spec": spec()}
        )
    namespace = served.get(NAMESPACES, "", "default")
    labels = {**namespace["metadata"]["labels"], "pod-security.kubernetes.io/enforce": "restricted"}
    begun = time.perf_counter()
    told = warned(
        lambda: served.put(NAMESPACES, {**namespace, "metadata": {**namespace["metadata"], "labels": labels}})
    )
    assert time.perf_counter() - begun < 2
    assert "of 4000 existing pods" in told[0]
