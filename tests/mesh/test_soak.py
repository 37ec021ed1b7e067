"""A mesh among hostile neighbours: nobody's request fails, and nobody's memory grows.

Short in ``make mesh``; ``SOAK_MINUTES=30 tools/isolated .venv/bin/pytest -s -m mesh tests/mesh/test_soak.py`` for the long one.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateen.demo.commands import Machine
from lateen.testing import counting

pytestmark = [pytest.mark.mesh, pytest.mark.root]

MINUTES = float(os.environ.get("SOAK_MINUTES", "0.75"))
NAMESPACE, ENEMY = "soak", "hostile"
EVERY_S = 3.0
#: What memory may grow by from the second quarter of the time to the last: the first fills caches.
GROWTH = 1.15 if MINUTES >= 10 else 1.5


@pytest.fixture(scope="module")
def load(machine: Machine) -> Iterator[Machine]:
    with counting.load(machine, NAMESPACE, connections=4):
        yield machine


@pytest.fixture
def enemy(load: Machine) -> Iterator[Machine]:
    """The hostile pod: outside of the mesh, with an account that may do nothing."""
    addresses = [it["status"]["podIP"] for it in load.objects("pods", "-n", NAMESPACE)]
    istiod = load.kubectl(
        "get", "service", "istiod", "-n", "istio-system", "-o", "jsonpath={.spec.clusterIP}"
    )
    script = (Path(counting.__file__).with_name("hostile.py")).read_text()
    container = {
        "name": "app", "image": "python:3", "volumeMounts": [{"name": "script", "mountPath": "/script"}],
        "command": ["python3", "/script/hostile.py", str(MINUTES * 60), istiod, *addresses],
    }  # fmt: skip
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ENEMY}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "script", "namespace": ENEMY},
         "data": {"hostile.py": script}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "enemy", "namespace": ENEMY},
         "spec": {"restartPolicy": "Never", "containers": [container], "terminationGracePeriodSeconds": 1,
                  "volumes": [{"name": "script", "configMap": {"name": "script"}}]}},
    ]  # fmt: skip
    path = load.home / "enemy.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    load.kubectl("apply", "-f", str(path))
    load.kubectl("wait", "-n", ENEMY, "pod/enemy", "--for=condition=Ready", "--timeout=60s")
    yield load
    load.kubectl("delete", "namespace", ENEMY, timeout_s=120)


def edit() -> list[dict[str, Any]]:
    """Rules of the called host and of others, renamed, reshaped, broken: what a careless colleague applies."""
    version, name = "networking.istio.io/v1", random.choice(["a", "b", "c"])
    subset = f"s{random.randrange(4)}"
    target = {"host": "server", "subset": subset}
    weights = [{"destination": target, "weight": 30}, {"destination": {"host": "server"}, "weight": 70}]
    rules: list[dict[str, Any]] = [
        {"kind": "DestinationRule", "spec": {"host": "server", "subsets": [{"name": subset, "labels": {"version": "v1"}}]}},
        {"kind": "VirtualService", "spec": {"hosts": ["server"], "http": [{"route": weights}]}},
    ]  # fmt: skip
    others: list[dict[str, Any]] = [
        {"kind": "VirtualService", "spec": {"hosts": [f"{name}.example"], "http": [{"route": weights}]}},
        {"kind": "PeerAuthentication", "spec": {"mtls": {"mode": random.choice(["STRICT", "PERMISSIVE"])}}},
    ]
    chosen = rules if random.random() < 0.5 else [random.choice(others)]
    for at, it in enumerate(chosen):
        group = "security.istio.io/v1" if it["kind"] == "PeerAuthentication" else version
        it |= {"apiVersion": group, "metadata": {"name": "rules" if chosen is rules else f"{name}-{at}"}}
    return chosen


def logged_failures(machine: Machine) -> list[str]:
    """What the client's proxy said of requests that failed: response flags and details are in there."""
    said = machine.kubectl(
        "logs", "-n", NAMESPACE, "deployment/client", "-c", "istio-proxy", "--tail=100000", check=False
    )
    return [line for line in said.splitlines() if '" 50' in line][-40:]


@pytest.mark.finding("issue 6 soak")
def test_hostile_neighbours_and_careless_colleagues_cost_no_request_and_no_memory(enemy: Machine) -> None:
    before, begun = counting.tally(enemy, NAMESPACE), time.monotonic()
    memory: dict[str, list[float]] = {"istiod": [], "agents": []}
    edits, path = 0, enemy.home / "edit.yaml"
    pid = counting.control_plane()
    while time.monotonic() - begun < MINUTES * 60:
        path.write_text(yaml.safe_dump_all(edit()))
        enemy.kubectl("apply", "-n", NAMESPACE, "-f", str(path), check=False)
        edits += 1
        memory["istiod"].append(counting.resident_mb(pid))
        memory["agents"].append(sum(map(counting.resident_mb, counting.processes("lateen.app.node_agent"))))
        time.sleep(EVERY_S * random.uniform(0.5, 1.5))
    after = counting.tally(enemy, NAMESPACE)
    did = enemy.kubectl("logs", "-n", ENEMY, "enemy", "--tail=1", check=False).strip()
    quarter = max(1, len(memory["istiod"]) // 4)
    levels = {
        name: (statistics.median(it[quarter : 2 * quarter]), statistics.median(it[-quarter:]))
        for name, it in memory.items()
    }
    print(
        f"{MINUTES} min: {after['good'] - before['good']} requests, {after['failed'] - before['failed']} failed, "
        f"{edits} edits; MB in the second and last quarter: {levels}; the enemy did {did}"
    )
    assert after["failed"] - before["failed"] == 0, (after["why"], logged_failures(enemy))
    assert after["good"] > before["good"]
    assert json.loads(did), "the enemy must have done something"
    assert counting.control_plane() == pid, "the control plane was restarted"
    for name, (early, late) in levels.items():
        assert late <= early * GROWTH, name
