"""What lasts: the mesh when the cluster rests, and workloads when the mesh is removed and comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lateen.demo import steps
from lateen.demo.commands import Machine

pytestmark = [pytest.mark.mesh, pytest.mark.root]

NAMESPACE = "lasting"
SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]},
}  # fmt: skip
STRICT = {
    "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "default"},
    "spec": {"mtls": {"mode": "STRICT"}},
}  # fmt: skip


def pod(name: str, image: str, *command: str) -> dict[str, Any]:
    container = {"name": "app", "image": image, "command": list(command)}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }  # fmt: skip


SLEEP = ("python:3", "sleep", "100000")
CALL = "import urllib.request; urllib.request.urlopen('http://web/', timeout=5)"


@pytest.fixture(scope="module")
def pair(machine: Machine) -> Iterator[Machine]:
    """A client and a server in the mesh, which takes no plaintext."""
    machine.kubectl("create", "namespace", NAMESPACE)
    machine.kubectl("label", "namespace", NAMESPACE, "istio-injection=enabled")
    apply(
        machine,
        SERVICE,
        pod("web", "python:3", "python3", "-m", "http.server", "8000"),
        pod("client", *SLEEP),
    )
    ready(machine, "web", "client")
    yield machine
    machine.kubectl("delete", "namespace", NAMESPACE, timeout_s=120)


def apply(machine: Machine, *objects: dict[str, Any]) -> None:
    path = machine.home / "lasting.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    machine.kubectl("apply", "-n", NAMESPACE, "-f", str(path))


def ready(machine: Machine, *names: str) -> None:
    pods = (f"pod/{it}" for it in names)
    machine.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", *pods, "--timeout=90s", timeout_s=100)


def calls(machine: Machine) -> bool:
    """Whether the client reaches the server, which only a sidecar with a good certificate can."""
    argv = ("exec", "-n", NAMESPACE, "client", "-c", "app", "--", "python3", "-c", CALL)
    return machine.kubectl_result(*argv, check=False).returncode == 0


def connected(machine: Machine) -> bool:
    said = machine.run(
        "lateen", "proxy-status", "-o", "json", check=False
    )  # the control plane may not be up yet
    proxies = {it["proxy"] for it in json.loads(said or "[]")}
    return {f"web.{NAMESPACE}", f"client.{NAMESPACE}"} <= proxies


def sidecars(machine: Machine, name: str) -> int:
    """How many containers a new pod has beside its own."""
    apply(machine, pod(name, *SLEEP))
    ready(machine, name)
    (found,) = machine.objects("pods", "-n", NAMESPACE, "-l", f"app={name}")
    machine.kubectl("delete", "pod", "-n", NAMESPACE, name, "--now")
    return len(found["spec"].get("initContainers", ()))


def test_the_mesh_comes_back_with_the_cluster(pair: Machine) -> None:
    apply(pair, STRICT)
    steps.until(lambda: calls(pair), within_s=30)
    uids = {it["metadata"]["uid"] for it in pair.objects("pods", "-n", NAMESPACE)}
    pair.skiff("stop")
    pair.skiff("start", "--cpus", "6", "--memory", "8192")
    steps.until(lambda: connected(pair), within_s=90)
    ready(pair, "web", "client")
    assert {it["metadata"]["uid"] for it in pair.objects("pods", "-n", NAMESPACE)} == uids
    assert calls(pair)


@pytest.mark.parametrize("purge", [False, True])
def test_workloads_go_on_without_the_mesh_and_with_the_next(pair: Machine, purge: bool) -> None:
    pair.lateen("uninstall", "-y", *(["--purge"] if purge else []))
    assert pair.objects("mutatingwebhookconfigurations,validatingwebhookconfigurations") == []
    assert sidecars(pair, "plain") == 0
    assert calls(pair)
    pair.lateen("install", "-y", "--profile", "demo")
    assert sidecars(pair, "injected") == 2
    # After a purge the mesh has another root, and the objects are gone.
    apply(pair, STRICT)
    steps.until(lambda: connected(pair), within_s=90)
    steps.until(lambda: calls(pair), within_s=30)
