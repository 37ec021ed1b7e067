"""``skiff start --realistic``: what a controller's author meets, and what patient clients get through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = [pytest.mark.root, pytest.mark.finding("issue 7 part 7")]

POD = {"containers": [{"name": "app", "image": "busybox", "command": ["sleep", "3600"]}]}
#: Watches definitions and says what it saw of one, then what an official client makes of a busy server.
WATCHER = """
import collections, json, sys, time, threading
from kubernetes import client, config, watch
config.load_kube_config()
core, seen = client.CoreV1Api(), collections.Counter()
def note(what):
    seen[what] += 1
stop = time.monotonic() + float(sys.argv[1])
known = {}
def follow():
    revision = ""
    while time.monotonic() < stop:
        try:
            if not revision:
                listed = core.list_namespaced_config_map("default")
                known.clear()
                known.update({it.metadata.name: (it.data or {}).get("n") for it in listed.items})
                revision = listed.metadata.resource_version
            for event in watch.Watch().stream(core.list_namespaced_config_map, "default", resource_version=revision, timeout_seconds=10):
                obj = event["object"]
                revision = obj.metadata.resource_version
                known[obj.metadata.name] = (obj.data or {}).get("n")
            note("watch ended")
        except client.ApiException as refused:
            note(f"watch {refused.status}")
            revision = "" if refused.status == 410 else revision
        except Exception as lost:
            note(f"watch {type(lost).__name__}")
thread = threading.Thread(target=follow, daemon=True)
thread.start()
wrote = {}
number = 0
while time.monotonic() < stop - 3:
    number += 1
    name, body = f"c{number % 20}", {"metadata": {"name": f"c{number % 20}"}, "data": {"n": str(number)}}
    for _ in range(10):
        try:
            try:
                core.replace_namespaced_config_map(name, "default", body)
            except client.ApiException as absent:
                if absent.status != 404:
                    raise
                core.create_namespaced_config_map("default", body)
            wrote[name] = str(number)
            break
        except client.ApiException as refused:
            note(f"write {refused.status}")
        except Exception as lost:
            note(f"write {type(lost).__name__}")
thread.join(20)
final = {it.metadata.name: it.data["n"] for it in core.list_namespaced_config_map("default").items if it.metadata.name != "kube-root-ca.crt"}
print(json.dumps({"seen": seen, "final": final == wrote, "watched": {k: v for k, v in known.items() if k in wrote} == wrote}))
"""


@pytest.fixture(scope="module")
def busy(new_cluster: type[Cluster]) -> Iterator[Cluster]:
    with new_cluster("--realistic", "--seed", "7") as made:
        yield made


def definition() -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "boats.sea.example"},
        "spec": {"group": "sea.example", "scope": "Namespaced", "names": {"plural": "boats", "kind": "Boat"},
                 "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]},
    }  # fmt: skip


def test_kubectl_gets_through(busy: Cluster) -> None:
    for number in range(3):
        busy.kubectl("create", "deployment", f"d{number}", "--image=busybox", "--", "sleep", "3600")
        busy.kubectl("rollout", "status", f"deployment/d{number}", "--timeout=60s")
    assert len(busy.objects("pods")) == 3


def test_a_definition_is_served_later_than_it_is_stored(busy: Cluster) -> None:
    made = busy.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(definition())).stdout
    assert json.loads(made)["status"]["conditions"] is None
    # A kubectl that looks at once ends with "accessor error: <nil>", as it does before a real server.
    wait = ("wait", "crd/boats.sea.example", "--for=condition=Established", "--timeout=30s")
    busy.until(lambda: busy.kubectl(*wait, check=False).returncode == 0, "established")
    busy.apply({"apiVersion": "sea.example/v1", "kind": "Boat", "metadata": {"name": "b"}})


def test_a_patient_client_loses_nothing_and_meets_everything(busy: Cluster) -> None:
    said = json.loads(busy.python(WATCHER, "8").stdout)
    assert said["final"], said
    assert said["watched"], said
    assert any(it.startswith("watch") for it in said["seen"]), said


def test_it_tells_what_it_is_and_what_it_did(busy: Cluster) -> None:
    busy.run("skiff", "restart")
    assert "by seed 7" in busy.run("skiff", "status").stdout
    busy.run("skiff", "stop")
    lines = [it for it in busy.log().splitlines() if "busy server" in it]
    for habit in ("slow", "overloaded", "reset_before", "late", "watch_dropped"):
        assert f"{habit}=" in lines[0], lines
