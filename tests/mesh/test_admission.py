"""What users see of admission: which pods run with a sidecar, and what is refused, warned of, or left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lateen.demo.commands import Machine

pytestmark = [pytest.mark.mesh, pytest.mark.root]

NAMESPACE = "admitted"
SERVER = {"name": "web", "image": "python:3", "command": ["python3", "-m", "http.server", "8000"]}


@pytest.fixture(scope="module")
def shop(machine: Machine) -> Iterator[Machine]:
    machine.kubectl("create", "namespace", NAMESPACE)
    machine.kubectl("label", "namespace", NAMESPACE, "istio-injection=enabled")
    yield machine
    machine.kubectl("delete", "namespace", NAMESPACE, "--wait=true")


def applied(machine: Machine, it: dict[str, Any], *argv: str) -> tuple[bool, str]:
    """Whether kubectl took it, and what it said."""
    path = machine.home / "admitted.yaml"
    path.write_text(yaml.safe_dump(it))
    done = machine.kubectl_result("apply", "-n", NAMESPACE, "-f", str(path), *argv, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def pod(name: str, container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{**SERVER, **container}], **spec},
    }  # fmt: skip


def ready(machine: Machine, name: str) -> None:
    machine.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


@pytest.mark.finding("real kubernetes 2")
def test_validation_is_binding_and_an_installation_again_leaves_it_so(shop: Machine) -> None:
    """An installation waits for it; validation is passed over only while nobody serves."""
    configuration = ("get", "validatingwebhookconfiguration", "istio-validator-istio-system", "-o", "json")
    before = json.loads(shop.kubectl(*configuration))
    assert [it["failurePolicy"] for it in before["webhooks"]] == ["Fail"]
    shop.lateen("install", "--profile", "demo", "-y")
    after = json.loads(shop.kubectl(*configuration))
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_a_hardened_pod_runs_in_the_mesh(shop: Machine) -> None:
    own = {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    it = pod("hard", {"securityContext": own}, securityContext={"runAsNonRoot": True, "runAsUser": 1000})
    assert applied(shop, it)[0]
    ready(shop, "hard")


def test_probes_reach_the_application_through_the_agent(shop: Machine) -> None:
    container = {
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "livenessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
        "startupProbe": {"exec": {"command": ["true"]}},
    }
    assert applied(shop, pod("probed", container))[0]
    ready(shop, "probed")


def test_a_probe_that_fails_in_the_application_fails(shop: Machine) -> None:
    container = {"readinessProbe": {"httpGet": {"path": "/no-such-page", "port": 8000}, "periodSeconds": 1}}
    assert applied(shop, pod("unready", container))[0]
    shop.kubectl(
        "wait", "-n", NAMESPACE, "--timeout=60s", "pod/unready",
        '--for=jsonpath={.status.initContainerStatuses[?(@.name=="istio-proxy")].started}=true',
    )  # fmt: skip
    shop.kubectl(
        "wait", "-n", NAMESPACE, "--timeout=60s", "pod/unready", "--for=jsonpath={.status.phase}=Running"
    )
    (found,) = shop.objects("pods", "-n", NAMESPACE, "-l", "app=unready")
    assert [it["ready"] for it in found["status"]["containerStatuses"]] == [False]


def test_a_job_ends_although_its_sidecar_would_run_on(shop: Machine) -> None:
    template = {
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "a", "image": "busybox", "command": ["true"]}],
        }
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {"template": template},
    }
    assert applied(shop, job)[0]
    shop.kubectl("wait", "-n", NAMESPACE, "--for=condition=Complete", "job/once", "--timeout=60s")
    (found,) = shop.objects("pods", "-n", NAMESPACE, "-l", "job-name=once")
    assert [it["name"] for it in found["spec"]["initContainers"]] == ["istio-init", "istio-proxy"]


def test_what_cannot_be_injected_is_refused_and_what_surprises_is_told(shop: Machine) -> None:
    it = pod("wrong", {})
    it["metadata"]["annotations"] = {"sidecar.istio.io/proxyCPU": "lots"}
    taken, said = applied(shop, it)
    assert not taken
    assert 'annotation sidecar.istio.io/proxyCPU: "lots" is not a quantity' in said
    taken, said = applied(
        shop, pod("same-user", {"securityContext": {"runAsUser": 1337}}), "--dry-run=server"
    )
    assert taken
    assert "Warning: container web runs as user 1337" in said


def virtual_service(name: str, http: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name},
        "spec": {"hosts": ["hard"], "http": http},
    }  # fmt: skip


ROUTE = {"route": [{"destination": {"host": "hard"}}]}


@pytest.mark.parametrize(
    ("http", "taken", "said"),
    [
        ([{**ROUTE, "timeout": "soon"}], False, 'spec.http[0].timeout: "soon" is not a duration'),
        (
            [{"route": [{"destination": {"host": "hard"}, "weight": -1}]}],
            False,
            "spec.http[0].route[0].weight: -1 is negative",
        ),
        ([{**ROUTE, "timeOut": "1s"}], False, 'unknown field "spec.http[0].timeOut"'),
        ([ROUTE, ROUTE], True, "Warning: spec.http[1]: is never reached"),
    ],
)
def test_objects_are_refused_with_a_path(
    shop: Machine, http: list[dict[str, Any]], taken: bool, said: str
) -> None:
    found = applied(shop, virtual_service("it", http))
    assert found[0] is taken
    assert said in found[1]


def test_an_object_that_got_in_another_way_is_left_out_and_takes_nothing_down(shop: Machine) -> None:
    ready(shop, "hard")
    before = routes(shop)
    (hook,) = shop.objects("validatingwebhookconfigurations", "-l", "app=istiod")
    shop.kubectl("delete", "validatingwebhookconfiguration", hook["metadata"]["name"])
    try:
        assert applied(shop, virtual_service("sneaked", [{**ROUTE, "timeout": "soon"}]))[0]
        shop.kubectl("delete", "virtualservice", "it", "-n", NAMESPACE)
        assert routes(shop) == before
        problems = shop.kubectl("logs", "-n", "istio-system", "deploy/istiod")
        assert f"VirtualService {NAMESPACE}/sneaked: spec.http[0].timeout" in problems
    finally:
        shop.lateen("install", "-y", "--profile", "demo")


def routes(machine: Machine) -> list[str]:
    """The names of all routes of a sidecar."""
    found = json.loads(machine.lateen("proxy-config", "route", f"hard.{NAMESPACE}", "-o", "json"))
    return sorted(str(it.get("name")) for it in found)
