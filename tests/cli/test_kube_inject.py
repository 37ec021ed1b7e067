"""``lateen kube-inject`` as a user meets it: manifests in, manifests out, and sentences for what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateen.cli import manifest_text

Object = dict[str, Any]

TEMPLATE = "{metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: w}]}}"
MANIFESTS = f"""
# a comment
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec: {{template: {TEMPLATE}}}
---
---
apiVersion: v1
kind: List
items:
- {{apiVersion: batch/v1, kind: CronJob, metadata: {{name: tick}}, spec: {{jobTemplate: {{spec: {{template: {TEMPLATE}}}}}}}}}
- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: c}}, data: {{when: 2026-01-02, ports: 8080:50, on: "on", e: "1e3"}}}}
- {{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{hostNetwork: true, containers: [{{name: p}}]}}}}
"""


def kube_inject(*argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lateen.cli.main", "kube-inject", *argv], input=stdin, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


@pytest.fixture
def offline(tmp_path: Path) -> list[str]:
    (tmp_path / "values.yaml").write_text("global: {proxy: {image: reg/proxy:9}}\n")
    return ["--valuesFile", str(tmp_path / "values.yaml")]


def inits(template: Object) -> list[str]:
    return [it["name"] for it in template["spec"].get("initContainers", [])]


def test_templates_get_the_sidecar_and_the_rest_stays(offline: list[str]) -> None:
    done = kube_inject("-f", "-", *offline, stdin=MANIFESTS)
    assert done.returncode == 0, done.stderr
    service, deployment, several = manifest_text.read(done.stdout)
    before = manifest_text.read(MANIFESTS)
    assert service == before[0]
    template = deployment["spec"]["template"]
    assert inits(template) == ["istio-init", "istio-proxy"]
    proxy = template["spec"]["initContainers"][1]
    assert proxy["image"] == "reg/proxy:9"
    told = {it["name"]: it.get("value") for it in proxy["env"]}
    assert told["ISTIO_META_OWNER"] == "kubernetes://apis/apps/v1/namespaces/shop/deployments/web"
    assert told["CA_ADDR"] == "istiod.istio-system.svc:15012"
    cron, config, pod = several["items"]
    assert inits(cron["spec"]["jobTemplate"]["spec"]["template"]) == ["istio-init", "istio-proxy"]
    assert config == before[2]["items"][1]
    assert config["data"] == {"when": "2026-01-02", "ports": "8080:50", True: "on", "e": "1e3"}
    assert pod == before[2]["items"][2]
    assert "&id" not in done.stdout
    assert "'1e3'" in done.stdout


def test_what_was_injected_is_not_injected_again(offline: list[str]) -> None:
    once = kube_inject("-f", "-", *offline, stdin=MANIFESTS).stdout
    assert kube_inject("-f", "-", *offline, stdin=once).stdout == once


def test_files_may_be_whole_config_maps(tmp_path: Path) -> None:
    mesh, config = tmp_path / "mesh.yaml", tmp_path / "config.yaml"
    mesh.write_text(yaml.safe_dump({"kind": "ConfigMap", "data": {"mesh": "trustDomain: example.org"}}))
    config.write_text("neverInjectSelector: [{matchLabels: {app: web}}]\n")
    done = kube_inject("-f", "-", "--meshConfigFile", str(mesh), stdin=MANIFESTS)
    assert "example.org" in done.stdout
    done = kube_inject("-f", "-", "--injectConfigFile", str(config), stdin=MANIFESTS)
    assert manifest_text.read(done.stdout) == manifest_text.read(MANIFESTS)


def test_output_goes_to_a_file(tmp_path: Path, offline: list[str]) -> None:
    source, target = tmp_path / "in.yaml", tmp_path / "out.yaml"
    source.write_text(MANIFESTS)
    done = kube_inject("-f", str(source), "-o", str(target), *offline)
    assert (done.returncode, done.stdout) == (0, "")
    assert "istio-proxy" in target.read_text()


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        ("", "holds no objects"),
        ("a: [", "is not YAML"),
        ("just text", "document 1 is no object of Kubernetes"),
        ("kind: Pod\n---\n- 1\n", "document 2 is no object of Kubernetes"),
        ("kind: Pod\n", "Pod default/: spec"),
        ("kind: Deployment\nmetadata: {name: d}\n", "Deployment default/d: spec is required"),
        ("kind: Pod\nmetadata: 7\nspec: {containers: x}\n", "Pod default/:"),
        ("kind: List\nitems: [{kind: Job, spec: {template: {spec: {containers: [{}]}}}}]", "Job default/: spec.containers[0]"),
        ("kind: Pod\nmetadata: {name: p, annotations: {sidecar.istio.io/proxyCPU: lots}}\nspec: {containers: [{name: a}]}",
         "annotation sidecar.istio.io/proxyCPU"),
        ("[" * 5000, "is not YAML"),
        ("\x00", "is not YAML"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(offline: list[str], stdin: str, said: str) -> None:
    done = kube_inject("-f", "-", *offline, stdin=stdin)
    assert done.returncode == 1, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        ([], 64, "--filename"),
        (["-f", "no-such.yaml"], 1, "no such file"),
        (["-f", "."], 1, "cannot be read"),
        (["-f", "-", "--valuesFile", "no-such.yaml"], 1, "no such file"),
        (["-f", "-", "--kubeconfig", "no-such-config"], 1, "no-such-config"),
    ],
)
def test_wrong_use_is_one_sentence(argv: list[str], code: int, said: str) -> None:
    done = kube_inject(*argv, stdin=MANIFESTS)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.finding("conformance F6")
def test_what_does_not_act_is_told_on_stderr(tmp_path: Path) -> None:
    values, mesh, pods = (tmp_path / it for it in ("values.yaml", "mesh.yaml", "pods.yaml"))
    values.write_text(
        'global: {hub: registry.example/mesh, tag: "1", proxy: {image: mine, statusPort: 0, readinessPeriodSeconds: 2}}\n'
        'pilot: {env: {ENABLE_NATIVE_SIDECARS: "false"}, cni: {enabled: true}}\n'
    )
    mesh.write_text("defaultConfig: {interceptionMode: TPROXY}\n")
    pods.write_text(
        "{kind: Pod, metadata: {name: a, annotations: {sidecar.istio.io/proxyCpu: 1m, "
        "proxy.istio.io/config: 'tracing: {}'}}, spec: {containers: [{name: a}]}}\n---\n"
        "{kind: Pod, metadata: {name: b}, spec: {hostNetwork: true, containers: [{name: b}]}}\n"
    )
    done = kube_inject("-f", str(pods), "--valuesFile", str(values), "--meshConfigFile", str(mesh))
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f"warning: {mesh}: defaultConfig.interceptionMode TPROXY has no effect in this release: it acts as REDIRECT",
        (
            f"warning: {values}: pilot.cni.enabled has no effect in this release: the container istio-init captures the "
            "traffic, with the capability NET_ADMIN"
        ),
        "warning: Pod default/a: annotation sidecar.istio.io/proxyCpu is unknown: did you mean sidecar.istio.io/proxyCPU?",
        "warning: Pod default/a: annotation proxy.istio.io/config: tracing: has no effect in this release",
        "warning: Pod default/b: no sidecar: the pod uses the network of its host",
    ]
    made = manifest_text.read(done.stdout)[0]["spec"]
    assert [it["name"] for it in made["containers"]] == ["a", "istio-proxy"]
    proxy = made["containers"][1]
    assert proxy["image"] == "registry.example/mesh/mine:1"
    assert "readinessProbe" not in proxy


@pytest.mark.finding("conformance F5")
def test_capture_leaves_the_user_of_a_proxy_alone(offline: list[str]) -> None:
    pod = (
        "{kind: Pod, spec: {containers: [{name: app, image: a}, {name: istio-proxy, image: auto, "
        "securityContext: {runAsUser: 1234, runAsGroup: 4321}}]}}"
    )
    made = manifest_text.read(kube_inject("-f", "-", *offline, stdin=pod).stdout)[0]["spec"]["initContainers"]
    args = made[0]["args"]
    assert args[args.index("-u") + 1] == "1234"
