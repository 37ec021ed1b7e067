"""An operator by kopf, unmodified. Run inside a cluster's machine; ends with an error at the first surprise."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.rest import ApiException

NAMESPACE = sys.argv[1]
OPERATOR = """
import kopf, kubernetes
kubernetes.config.load_kube_config()
core = kubernetes.client.CoreV1Api()

@kopf.on.create("kopf.io", "v1", "ships")
def built(spec, name, namespace, patch, **_):
    body = {"metadata": {"name": f"{name}-log"}, "data": {"masts": str(spec["masts"])}}
    kopf.adopt(body)
    core.create_namespaced_config_map(namespace, body)
    kopf.info(body | {"kind": "ConfigMap", "apiVersion": "v1"}, reason="Built", message="ready")
    patch.status["built"] = True

@kopf.on.field("kopf.io", "v1", "ships", field="spec.masts")
def rigged(old, new, patch, **_):
    patch.status["masts"] = new

@kopf.on.delete("kopf.io", "v1", "ships")
def sunk(name, namespace, **_):
    core.create_namespaced_config_map(namespace, {"metadata": {"name": f"{name}-wreck"}})

@kopf.timer("kopf.io", "v1", "ships", interval=0.5)
def ticked(patch, **_):
    patch.status["ticked"] = True

@kopf.on.event("configmaps", labels={"seen": "no"})
def seen(name, namespace, **_):
    core.patch_namespaced_config_map(name, namespace, {"metadata": {"labels": {"seen": "yes"}}})
"""

config.load_kube_config()
core, ships = client.CoreV1Api(), client.CustomObjectsApi()
WHERE = ("kopf.io", "v1", NAMESPACE, "ships")


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
        except ApiException as absent:
            if absent.status != 404:
                raise
        time.sleep(0.1)
    raise AssertionError(f"never: {what}")


def status(name: str) -> dict[str, Any]:
    found: dict[str, Any] = ships.get_namespaced_custom_object(*WHERE, name).get("status") or {}
    return found


def gone(name: str) -> bool:
    try:
        ships.get_namespaced_custom_object(*WHERE, name)
    except ApiException as absent:
        return bool(absent.status == 404)
    return False


def defined() -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": "kopf.io",
        "scope": "Namespaced",
        "names": {"plural": "ships", "kind": "Ship"},
        "versions": [version],
    }
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "ships.kopf.io"},
    }
    client.ApiextensionsV1Api().create_custom_resource_definition({**body, "spec": spec})


def operated() -> None:
    ship = {"apiVersion": "kopf.io/v1", "kind": "Ship", "metadata": {"name": "s"}, "spec": {"masts": 1}}
    ships.create_namespaced_custom_object(*WHERE, ship)
    until(lambda: status("s").get("built") and status("s").get("ticked"), "built and ticked")
    assert core.read_namespaced_config_map("s-log", NAMESPACE).data == {"masts": "1"}
    ships.patch_namespaced_custom_object(*WHERE, "s", {"spec": {"masts": 3}})
    until(lambda: status("s").get("masts") == 3, "rigged")
    core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "look", "labels": {"seen": "no"}}})
    until(lambda: core.read_namespaced_config_map("look", NAMESPACE).metadata.labels["seen"] == "yes", "seen")
    until(lambda: any(it.reason == "Built" for it in core.list_namespaced_event(NAMESPACE).items), "an event")


def finalized() -> None:
    assert ships.get_namespaced_custom_object(*WHERE, "s")["metadata"]["finalizers"]
    ships.delete_namespaced_custom_object(*WHERE, "s")
    until(lambda: core.read_namespaced_config_map("s-wreck", NAMESPACE), "the finalizer ran")
    until(lambda: gone("s"), "the object went")
    until(
        lambda: not core.list_namespaced_config_map(NAMESPACE, field_selector="metadata.name=s-log").items,
        "what it owned",
    )


STEPS: list[Callable[[], None]] = [operated, finalized]
with tempfile.TemporaryDirectory() as folder:
    script, log = Path(folder) / "operator.py", Path(folder) / "log"
    script.write_text(OPERATOR)
    defined()
    argv = [sys.executable, "-m", "kopf", "run", "--namespace", NAMESPACE, "--standalone", str(script)]
    with log.open("w") as output:
        operator = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)
    try:
        for step in STEPS:
            step()
            print(step.__name__, flush=True)
    except BaseException:
        print(log.read_text()[-4000:])
        raise
    finally:
        operator.terminate()
        operator.wait(20)
        client.ApiextensionsV1Api().delete_custom_resource_definition("ships.kopf.io")
print("done")
