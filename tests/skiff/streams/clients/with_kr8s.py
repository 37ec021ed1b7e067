"""kr8s, unmodified. Run inside a cluster's machine; ends with an error at the first surprise."""

from __future__ import annotations

import sys
from collections.abc import Callable

import httpx
import kr8s
from kr8s.objects import ConfigMap, Deployment, Pod

NAMESPACE = sys.argv[1]
api = kr8s.api()


def objects() -> None:
    assert api.version()["major"] == "1"
    assert [it.name for it in kr8s.get("nodes")] == ["skiff"]
    it = ConfigMap({"metadata": {"name": "kr8s", "namespace": NAMESPACE}, "data": {"a": "b"}})
    it.create()
    it.label({"z": "1"})
    it.patch({"metadata": {"annotations": {"k": "v"}}})
    it.refresh()
    assert it.annotations["k"] == "v"
    assert [it.name for it in kr8s.get("configmaps", namespace=NAMESPACE, label_selector={"z": "1"})] == [
        "kr8s"
    ]
    event, first = next(iter(api.watch("configmaps", namespace=NAMESPACE, label_selector={"z": "1"})))
    assert (event, first.name) == ("ADDED", "kr8s")
    it.delete()
    it.wait("delete", timeout=20)
    assert not it.exists()
    assert any(it["name"] == "deployments" for it in api.api_resources())
    assert api.whoami() == "kubernetes-admin"


def streams() -> None:
    pod = Pod.get("web", namespace=NAMESPACE)
    pod.wait("condition=Ready", timeout=20)
    ended = pod.exec(["sh", "-c", "echo out; echo err >&2"], container="web")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"out\n", b"err\n")
    assert pod.exec(["sh", "-c", "exit 4"], container="web", check=False).returncode == 4
    assert list(pod.logs(container="web")) == ["started"]
    with pod.portforward(8080, local_port=None) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/").text == "page\n"


def workloads() -> None:
    pod = {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "x", "image": "busybox:1", "command": ["sleep", "1000"]}],
    }
    template = {"metadata": {"labels": {"kr": "8s"}}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": {"kr": "8s"}}, "template": template}
    it = Deployment({"metadata": {"name": "kr8s", "namespace": NAMESPACE}, "spec": spec})
    it.create()
    it.wait("condition=Available", timeout=30)
    it.scale(2)
    assert it.replicas == 2
    it.delete()


STEPS: list[Callable[[], None]] = [objects, streams, workloads]
for step in STEPS:
    step()
    print(step.__name__, flush=True)
print("done")
