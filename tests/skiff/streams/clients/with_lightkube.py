"""lightkube, unmodified. Run inside a cluster's machine; ends with an error at the first surprise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lightkube import ApiError, Client
from lightkube.generic_resource import create_namespaced_resource, load_in_cluster_generic_resources
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Node, Pod
from lightkube.types import CascadeType, PatchType

NAMESPACE = sys.argv[1]
api = Client(namespace=NAMESPACE, field_manager="lightkube-test")


@contextmanager
def refused(code: int, reason: str) -> Iterator[None]:
    said = (0, "")
    try:
        yield
    except ApiError as raised:
        said = (raised.status.code, raised.status.reason)
    assert said == (code, reason), said


def objects() -> None:
    assert [it.metadata.name for it in api.list(Node)] == ["skiff"]
    it = ConfigMap(metadata=ObjectMeta(name="light", labels={"l": "k"}), data={"a": "b"})
    assert api.create(it).data == {"a": "b"}
    assert api.patch(ConfigMap, "light", {"data": {"c": "d"}}).data == {"a": "b", "c": "d"}
    changed = [{"op": "remove", "path": "/data/c"}]
    assert api.patch(ConfigMap, "light", changed, patch_type=PatchType.JSON).data == {"a": "b"}
    assert [found.metadata.name for found in api.list(ConfigMap, labels={"l": ["k", "z"]})] == ["light"]
    assert api.set(ConfigMap, "light", labels={"z": "1"}).metadata.labels == {"l": "k", "z": "1"}
    api.delete(ConfigMap, "light")
    with refused(404, "NotFound"):
        api.get(ConfigMap, "light")


def applied() -> None:
    it = ConfigMap(metadata=ObjectMeta(name="ssa"), data={"a": "1"})
    assert api.apply(it, field_manager="one").data == {"a": "1"}
    with refused(409, "Conflict"):
        api.apply(ConfigMap(metadata=ObjectMeta(name="ssa"), data={"a": "2"}), field_manager="two")
    assert api.apply(
        ConfigMap(metadata=ObjectMeta(name="ssa"), data={"a": "2"}), field_manager="two", force=True
    ).data == {"a": "2"}
    api.delete(ConfigMap, "ssa", cascade=CascadeType.FOREGROUND)


def watching() -> None:
    for event, it in api.watch(Pod, fields={"metadata.name": "web"}):
        assert (event, it.metadata.name) == ("ADDED", "web")
        break
    assert api.wait(Pod, "web", for_conditions=["Ready"]).status.phase == "Running"
    assert list(api.log("web", container="web")) == ["started\n"]


def custom_objects() -> None:
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}  # fmt: skip
    spec = {
        "group": "light.io",
        "scope": "Namespaced",
        "names": {"plural": "lamps", "kind": "Lamp"},
        "versions": [version],
    }
    api.create(CustomResourceDefinition.from_dict({"metadata": {"name": "lamps.light.io"}, "spec": spec}))
    api.wait(CustomResourceDefinition, "lamps.light.io", for_conditions=["Established"])
    load_in_cluster_generic_resources(api)
    lamp = create_namespaced_resource("light.io", "v1", "Lamp", "lamps")
    api.create(lamp(metadata=ObjectMeta(name="l"), spec={"on": True}))
    api.patch(lamp.Status, "l", {"status": {"lit": True}}, patch_type=PatchType.MERGE)
    assert api.get(lamp, "l").status == {"lit": True}
    api.delete(CustomResourceDefinition, "lamps.light.io")


def workloads() -> None:
    container = {"name": "x", "image": "busybox:1", "command": ["sleep", "1000"]}
    template = {
        "metadata": {"labels": {"light": "1"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"light": "1"}}, "template": template}
    api.create(Deployment.from_dict({"metadata": {"name": "light"}, "spec": spec}))
    api.wait(Deployment, "light", for_conditions=["Available"])
    scale = api.get(Deployment.Scale, "light")
    scale.spec.replicas = 2
    assert api.replace(scale, "light").spec.replicas == 2
    api.delete(Deployment, "light")


STEPS: list[Callable[[], None]] = [objects, applied, watching, custom_objects, workloads]
for step in STEPS:
    step()
    print(step.__name__, flush=True)
print("done")
