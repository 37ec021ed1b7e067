"""What must not cost a request: rotating every certificate, and killing the control plane."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from lateen.demo import steps
from lateen.demo.commands import Machine
from lateen.testing import counting

pytestmark = [pytest.mark.mesh, pytest.mark.root]

#: Requests that must be counted while things are broken (issue 2, "Shown by").
ENOUGH = 20_000
CONNECTIONS = 8
NAMESPACE = "unbroken"


@pytest.fixture(scope="module")
def load(machine: Machine) -> Iterator[Machine]:
    """A client that calls a server without a pause, both in the mesh."""
    with counting.load(machine, NAMESPACE, CONNECTIONS):
        yield machine


def tally(machine: Machine) -> dict[str, Any]:
    """What the client has counted so far."""
    return counting.tally(machine, NAMESPACE)


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
    steps.until(lambda: counting.control_plane() not in (0, killed), within_s=60)
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


def _kill_control_plane() -> int:
    pid = counting.control_plane()
    assert pid, "the control plane must be running"
    os.kill(pid, signal.SIGKILL)
    return pid


@pytest.mark.finding("conformance F17")
def test_a_rolling_restart_fails_no_request(load: Machine) -> None:
    before = tally(load)
    for _ in range(3):
        load.kubectl("rollout", "restart", "-n", NAMESPACE, "deployment/server")
        load.kubectl(
            "rollout", "status", "-n", NAMESPACE, "deployment/server", "--timeout=120s", timeout_s=130
        )
    at = tally(load)["good"]
    steps.until(lambda: tally(load)["good"] - at >= ENOUGH / 20, within_s=120)
    after = tally(load)
    assert after["failed"] - before["failed"] == 0, after["why"]


@pytest.mark.finding("conformance F17")
def test_peers_are_asked_to_leave_while_the_application_still_runs(load: Machine) -> None:
    script = "trap 'sleep 8; exit 0' TERM; while :; do sleep 1000 & wait $!; done"
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "slow", "labels": {"app": "slow"}},
        "spec": {"terminationGracePeriodSeconds": 20,
                 "containers": [{"name": "app", "image": "busybox", "command": ["sh", "-c", script]}]},
    }  # fmt: skip
    path = load.home / "slow.json"
    path.write_text(json.dumps(pod))
    load.kubectl("apply", "-n", NAMESPACE, "-f", str(path))
    load.kubectl("wait", "-n", NAMESPACE, "pod/slow", "--for=condition=Ready", "--timeout=60s", timeout_s=70)
    load.kubectl("delete", "-n", NAMESPACE, "pod/slow", "--wait=false")
    ask = ("pilot-agent", "request", "GET", "/healthz/ready", "--debug-port", "15020")

    def draining() -> bool:
        said = load.kubectl("exec", "-n", NAMESPACE, "slow", "-c", "istio-proxy", "--", *ask, check=False)
        return "draining" in said

    steps.until(draining, within_s=7)
    (found,) = [it for it in load.objects("pods", "-n", NAMESPACE) if it["metadata"]["name"] == "slow"]
    assert "running" in found["status"]["containerStatuses"][0]["state"], "the application has not ended yet"


RENAMED = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: server}
spec: {host: server, subsets: [{name: s%(n)d, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: server}
spec: {hosts: [server], http: [{route: [{destination: {host: server, subset: s%(n)d}}]}]}
"""


@pytest.mark.finding("architecture 1")
@pytest.mark.finding("mesh bad days")
def test_a_subset_renamed_by_one_apply_fails_no_request(load: Machine) -> None:
    before, path = tally(load), load.home / "renamed.yaml"
    for number in range(10):
        path.write_text(RENAMED % {"n": number})
        load.kubectl("apply", "-n", NAMESPACE, "-f", str(path))
    load.kubectl("delete", "-n", NAMESPACE, "-f", str(path))
    at = tally(load)["good"]
    steps.until(lambda: tally(load)["good"] - at >= ENOUGH / 20, within_s=120)
    after = tally(load)
    assert after["failed"] - before["failed"] == 0, after["why"]
