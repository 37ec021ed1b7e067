"""A client that calls a server without a pause, both in the mesh, and counts what fails (load.py, inside the pods)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lateen.demo import steps
from lateen.demo.commands import Machine

NOTHING: dict[str, Any] = {"good": 0, "failed": 0, "why": {}}


def workload(name: str, args: list[str]) -> list[dict[str, Any]]:
    """A Deployment of one pod with a Service and an account of its own."""
    container: dict[str, Any] = {
        "name": "app", "image": "python:3", "command": ["python3", "/load/load.py", *args],
        "ports": [{"name": "http", "containerPort": 8080}],
        "volumeMounts": [{"name": "load", "mountPath": "/load"}],
    }  # fmt: skip
    if args[0] == "serve":  # without one it would be ready before it listens
        container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
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


@contextlib.contextmanager
def load(machine: Machine, namespace: str, connections: int) -> Iterator[None]:
    """The two run in a namespace of their own, and the first request was counted."""
    script = Path(__file__).with_name("load.py").read_text()
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "load"}, "data": {"load.py": script}},
        *workload("server", ["serve", "8080"]),
        *workload("client", ["call", "server", "80", str(connections)]),
    ]
    path = machine.home / "load.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    machine.kubectl("create", "namespace", namespace)
    machine.kubectl("label", "namespace", namespace, "istio-injection=enabled")
    machine.kubectl("apply", "-n", namespace, "-f", str(path))
    for name in ("server", "client"):
        machine.kubectl(
            "rollout", "status", "-n", namespace, f"deployment/{name}", "--timeout=120s", timeout_s=130
        )
    steps.until(lambda: tally(machine, namespace)["good"] > 0, within_s=60)
    yield
    machine.kubectl("delete", "namespace", namespace, timeout_s=120)


def tally(machine: Machine, namespace: str) -> dict[str, Any]:
    """What the client has counted so far."""
    said = machine.kubectl(
        "logs", "-n", namespace, "deployment/client", "-c", "app", "--tail=1", check=False
    ).strip()
    found: dict[str, Any] = json.loads(said) if said.startswith("{") else NOTHING
    return found


def control_plane() -> int:
    """The pid of the control plane's process on this machine; 0 when there is none."""
    return next(iter(processes("lateen.app.control_plane")), 0)


def processes(module: str) -> list[int]:
    """The pids of the Python programs that run a module, the oldest first."""
    found = []
    for it in Path("/proc").iterdir():
        if it.name.isdigit():
            try:
                words = (it / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[1:3] == [b"-m", module.encode()]:
                found.append(int(it.name))
    return sorted(found)


def resident_mb(pid: int) -> float:
    """The memory of a process, in MB; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0
