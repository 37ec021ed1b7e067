"""Helm 3, unmodified: install, test, upgrade, rollback, history, dry run, hooks, uninstall.

Its binary is looked for on the PATH and where ``go install helm.sh/helm/v3/cmd/helm@v3.19.2`` puts it (``tools/helm``).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cluster import Answer, Cluster

pytestmark = [pytest.mark.root, pytest.mark.soak, pytest.mark.finding("issue 7 clients")]

HELM = shutil.which("helm") or shutil.which("helm", path=str(Path.home() / "go" / "bin"))
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: boat\nversion: 0.1.0\nappVersion: '1'\n",
    "values.yaml": "replicas: 1\nmessage: hello\n",
    "crds/oars.yaml": """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: oars.boat.example}
spec:
  group: boat.example
  scope: Namespaced
  names: {plural: oars, kind: Oar}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
""",
    "templates/all.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-page}
data: {index.html: {{ .Values.message | quote }}}
---
apiVersion: boat.example/v1
kind: Oar
metadata: {name: {{ .Release.Name }}}
spec: {length: 3}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec: {selector: {app: {{ .Release.Name }}}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {app: {{ .Release.Name }}}
      annotations: {message: {{ .Values.message | quote }}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: busybox:1
        command: [sh, -c, "exec httpd -f -p 8080 -h /page"]
        readinessProbe: {httpGet: {port: 8080, path: /index.html}, periodSeconds: 1}
        volumeMounts: [{name: page, mountPath: /page}]
      volumes: [{name: page, configMap: {name: {{ .Release.Name }}-page}}]
""",
    "templates/hook.yaml": """
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-before
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: x, image: "busybox:1", command: [sh, -c, "exit 0"]}]
""",
    "templates/tests/call.yaml": """
apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-call
  annotations: {helm.sh/hook: test, helm.sh/hook-delete-policy: before-hook-creation}
spec:
  restartPolicy: Never
  containers: [{name: x, image: "busybox:1", command: [sh, -c, "wget -qO- http://{{ .Release.Name }}/index.html | grep -q {{ .Values.message }}"]}]
""",
}  # fmt: skip


@pytest.fixture(scope="module")
def boat(cluster: Cluster) -> Iterator[Cluster]:
    if HELM is None:
        pytest.skip("helm is not installed, and was not built: run tools/helm (needs Go)")
    for name, text in CHART.items():
        path = cluster.folder / "boat" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    cluster.kubectl("create", "namespace", "helm")
    yield cluster
    cluster.kubectl("delete", "namespace", "helm")


def helm(boat: Cluster, *argv: str, check: bool = True) -> Answer:
    assert HELM
    return boat.run(HELM, "--namespace", "helm", *argv, check=check)


def message(boat: Cluster) -> str:
    [found] = boat.objects("configmap", "-n", "helm", "skipper-page")
    text: str = found["data"]["index.html"]
    return text


def test_a_release_lives_its_whole_life(boat: Cluster) -> None:
    chart = str(boat.folder / "boat")
    tried = helm(boat, "install", "skipper", chart, "--dry-run=server").stdout
    assert "kind: Deployment" in tried
    assert not boat.objects("deployment", "-n", "helm")
    helm(boat, "install", "skipper", chart, "--wait", "--timeout=90s")
    assert [it["status"]["phase"] for it in boat.objects("pods", "-n", "helm", "-l", "app=skipper")] == [
        "Running"
    ]
    helm(boat, "test", "skipper", "--timeout=60s")
    helm(
        boat,
        "upgrade",
        "skipper",
        chart,
        "--set",
        "message=ahoy,replicas=2",
        "--wait",
        "--wait-for-jobs",
        "--timeout=90s",
    )
    assert message(boat) == "ahoy"
    helm(boat, "test", "skipper", "--timeout=60s")
    refused = helm(boat, "upgrade", "skipper", chart, "--set", "replicas=-1", check=False)
    assert refused.returncode, "a negative number of replicas was taken"
    helm(boat, "rollback", "skipper", "1", "--wait", "--timeout=90s")
    assert message(boat) == "hello"
    history = json.loads(helm(boat, "history", "skipper", "-o", "json").stdout)
    assert [it["status"] for it in history][-1] == "deployed"
    assert len(history) == 4
    assert json.loads(helm(boat, "list", "-o", "json").stdout)[0]["name"] == "skipper"
    helm(boat, "get", "all", "skipper")
    helm(boat, "uninstall", "skipper", "--wait", "--timeout=60s")
    assert not boat.objects("deployment,service,oars", "-n", "helm")
