"""What must not cost a request: rotating every certificate, and killing the control plane."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateen.demo import steps
from lateen.demo.commands import Machine

pytestmark = [pytest.mark.mesh, pytest.mark.root]

#: Requests that must be counted while things are broken (issue 2, "Shown by").
ENOUGH = 20_000
CONNECTIONS = 8
NAMESPACE = "unbroken"


def _workload(name: str, args: list[str]) -> list[dict[str, Any]]:
    container = {
        "name": "app", "image": "python:3", "command": ["python3", "/load/load.py", *args],
        "ports": [{"name": "http", "containerPort": 8080}],
        "volumeMounts": [{"name": "load", "mountPath": "/load"}],
    }  # fmt: skip
    labels = {"app": name, "version": "v1"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
         "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
         "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
             "metadata": {"labels": labels},
             "spec": {"serviceAccountName": name, "terminationGracePeriodSeconds": 5, "containers": [container],
                      "volumes": [{"name": "load", "configMap": {"name": "load"}}]},
         }}},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def load(machine: Machine) -> Iterator[Machine]:
    """A client that calls a server without a pause, both in the mesh."""
    script = Path(__file__).with_name("load.py").read_text()
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "load"}, "data": {"load.py": script}},
        *_workload("server", ["serve", "8080"]),
        *_workload("client", ["call", "server", "80", str(CONNECTIONS)]),
    ]
    path = machine.home / "load.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    machine.kubectl("create", "namespace", NAMESPACE)
    machine.kubectl("label", "namespace", NAMESPACE, "istio-injection=enabled")
    machine.kubectl("apply", "-n", NAMESPACE, "-f", str(path))
    for name in ("server", "client"):
        machine.kubectl(
            "rollout", "status", "-n", NAMESPACE, f"deployment/{name}", "--timeout=120s", timeout_s=130
        )
    steps.until(lambda: tally(machine)["good"] > 0, within_s=60)
    yield machine
    machine.kubectl("delete", "namespace", NAMESPACE, timeout_s=120)


def tally(machine: Machine) -> dict[str, Any]:
    """What the client has counted so far."""
    said = machine.kubectl(
        "logs", "-n", NAMESPACE, "deployment/client", "-c", "app", "--tail=1", check=False
    ).strip()
    found: dict[str, Any] = json.loads(said) if said.startswith("{") else {"good": 0, "failed": 0, "why": {}}
    return found


def _serials(machine: Machine, namespace: str, pod: str) -> str:
    secrets = json.loads(machine.lateen("proxy-config", "secret", f"{pod}.{namespace}", "-o", "json"))
    return json.dumps(secrets, sort_keys=True)


def _injected(machine: Machine) -> list[tuple[str, str]]:
    pods = machine.objects("pods", "-A")
    return [
        (it["metadata"]["namespace"], it["metadata"]["name"])
        for it in pods
        if "sidecar.istio.io/status" in it["metadata"].get("annotations", {})
    ]


def _rotate(machine: Machine, namespace: str, pod: str) -> None:
    """The agent gets a new certificate at once."""
    order = ("pilot-agent", "request", "POST", "/rotate", "--debug-port", "15020")
    machine.kubectl("exec", "-n", namespace, pod, "-c", "istio-proxy", "--", *order)


def _all(work: Callable[[str, str], Any], pods: list[tuple[str, str]]) -> list[Any]:
    """The same for every pod, a few at a time."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(lambda it: work(*it), pods))


def test_rotating_all_certificates_and_killing_the_control_plane_fails_no_request(load: Machine) -> None:
    before, pods = tally(load), _injected(load)
    serials, rotate = partial(_serials, load), partial(_rotate, load)
    held = _all(serials, pods)
    _all(rotate, pods)
    steps.until(
        lambda: all(new != old for new, old in zip(_all(serials, pods), held, strict=True)), within_s=60
    )
    killed = _kill_control_plane()
    steps.until(lambda: _control_plane() not in (0, killed), within_s=60)
    load.kubectl(
        "rollout", "status", "-n", "istio-system", "deployment/istiod", "--timeout=120s", timeout_s=130
    )
    _all(rotate, pods)  # the control plane that came back signs as the one before
    steps.until(lambda: tally(load)["good"] - before["good"] >= ENOUGH, within_s=300, every_s=2)
    after = tally(load)
    print(
        f"{after['good'] - before['good']} requests, {after['failed'] - before['failed']} failed: {after['why']}"
    )
    assert after["failed"] - before["failed"] == 0, after["why"]


def _control_plane() -> int:
    """The pid of the control plane's process; 0 when there is none."""
    for it in Path("/proc").iterdir():
        if it.name.isdigit():
            try:
                words = (it / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[1:3] == [b"-m", b"lateen.app.control_plane"]:
                return int(it.name)
    return 0


def _kill_control_plane() -> int:
    pid = _control_plane()
    assert pid, "the control plane must be running"
    os.kill(pid, signal.SIGKILL)
    return pid
