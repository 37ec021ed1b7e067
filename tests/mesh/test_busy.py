"""The mesh on a cluster that is as slow, late and unreliable as a busy one: it comes, serves and goes.

``make realistic`` runs all tests of this folder on such a cluster.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from skiff.testing import Cluster

pytestmark = [pytest.mark.mesh, pytest.mark.root]

NAMESPACE = "busy"
#: Enough that watches end and writes are refused meanwhile.
APPLIED = 8
SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]},
}  # fmt: skip
STRICT = {
    "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "default"},
    "spec": {"mtls": {"mode": "STRICT"}},
}  # fmt: skip
CALL = "import urllib.request; print(urllib.request.urlopen('http://web/', timeout=5).status)"


@pytest.fixture(scope="module")
def busy() -> Iterator[Cluster]:
    with Cluster("--realistic", "--seed", "3", "--cpus", "6", "--memory", "8192") as made:
        yield made


def pod(name: str, *command: str) -> dict[str, Any]:
    container = {"name": "app", "image": "python:3", "command": list(command)}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }  # fmt: skip


def route(number: int) -> dict[str, Any]:
    name = f"r{number}"
    http = [
        {
            "name": name,
            "match": [{"uri": {"prefix": f"/{name}"}}],
            "route": [{"destination": {"host": "web"}}],
        }
    ]
    return {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name},
        "spec": {"hosts": [f"{name}.example"], "http": http},
    }  # fmt: skip


def proxies(busy: Cluster) -> set[str]:
    said = busy.run("lateen", "proxy-status", "-o", "json", check=False)
    return {it["proxy"] for it in json.loads(said.stdout or "[]")}


@pytest.mark.finding("issue 7 part 7")
def test_the_mesh_comes_serves_and_goes(busy: Cluster) -> None:
    busy.run("lateen", "install", "-y", "--profile", "minimal")
    # What it waits for is there: objects of its kinds are taken, wrong ones refused, pods get their sidecars.
    busy.kubectl("create", "namespace", NAMESPACE)
    busy.kubectl("label", "namespace", NAMESPACE, "istio-injection=enabled")
    web = pod("web", "python3", "-m", "http.server", "8000")
    busy.apply(STRICT, SERVICE, web, pod("client", "sleep", "100000"), namespace=NAMESPACE)
    wrong = {**route(0), "spec": {"hosts": ["x.example"], "http": [{"timeout": "soon"}]}}
    refused = busy.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(wrong), check=False)
    assert '"soon" is not a duration' in refused.stderr
    busy.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod/web", "pod/client", "--timeout=90s")
    busy.until(
        lambda: {f"web.{NAMESPACE}", f"client.{NAMESPACE}"} <= proxies(busy), "both proxies are connected"
    )
    asked = ("exec", "-n", NAMESPACE, "client", "-c", "app", "--", "python3", "-c", CALL)
    busy.until(lambda: busy.kubectl(*asked, check=False).stdout.strip() == "200", "an answer by mutual TLS")
    follows_all(busy)
    busy.run("lateen", "uninstall", "-y", "--purge", "--profile", "minimal")
    busy.until(lambda: not busy.objects("customresourcedefinitions"), "the definitions are gone")
    assert busy.objects("mutatingwebhookconfigurations,validatingwebhookconfigurations") == []
    assert busy.kubectl(*asked).stdout.strip() == "200"
    busy.run("skiff", "stop")
    (met,) = [line for line in busy.log().splitlines() if "was as a busy server is" in line]
    assert all(f"{it}=" in met for it in ("slow", "overloaded", "late")), met


def follows_all(busy: Cluster) -> None:
    """What is applied reaches the proxies although watches end, are cut, or are too old to go on."""

    def known() -> int:
        said = busy.run(
            "lateen", "proxy-config", "route", f"client.{NAMESPACE}", "-o", "json", check=False
        ).stdout
        return sum(f'"/r{it}"' in said for it in range(APPLIED))

    busy.apply(*map(route, range(APPLIED)), namespace=NAMESPACE)
    busy.until(lambda: known() == APPLIED, "all routes are there")
    busy.kubectl("delete", "virtualservices", "--all", "-n", NAMESPACE)
    busy.until(lambda: not known(), "the routes are gone")
