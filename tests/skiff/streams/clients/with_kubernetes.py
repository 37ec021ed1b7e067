"""The official Python client, unmodified. Run inside a cluster's machine; ends with an error at the first surprise."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from kubernetes import client, config, dynamic, stream, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward

NAMESPACE = sys.argv[1]
config.load_kube_config()
core, apps, custom = client.CoreV1Api(), client.AppsV1Api(), client.CustomObjectsApi()


@contextmanager
def refused(code: int, reason: str) -> Iterator[None]:
    said = None
    try:
        yield
    except ApiException as raised:
        said = raised
    assert said is not None, f"not refused with {code}"
    assert said.status == code, said
    assert json.loads(said.body)["reason"] == reason, said.body


def config_map(name: str, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"x": "y"}), data=data)


def objects() -> None:
    made = core.create_namespaced_config_map(NAMESPACE, config_map("a", k="v"))
    with refused(409, "AlreadyExists"):
        core.create_namespaced_config_map(NAMESPACE, config_map("a"))
    assert core.patch_namespaced_config_map("a", NAMESPACE, {"data": {"k2": "v2"}}).data == {
        "k": "v",
        "k2": "v2",
    }
    assert core.patch_namespaced_config_map("a", NAMESPACE, [{"op": "remove", "path": "/data/k2"}]).data == {
        "k": "v"
    }
    with refused(409, "Conflict"):
        core.replace_namespaced_config_map("a", NAMESPACE, made)
    assert len(core.list_namespaced_config_map(NAMESPACE, label_selector="x=y").items) == 1
    with refused(404, "NotFound"):
        core.read_namespaced_pod("none", NAMESPACE)
    assert client.VersionApi().get_code().major == "1"
    assert len(client.ApisApi().get_api_versions().groups) > 10


def watching() -> None:
    def later() -> None:
        core.create_namespaced_config_map(NAMESPACE, config_map("b"))
        core.delete_namespaced_config_map("b", NAMESPACE)

    since = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    told, watcher, other = [], watch.Watch(), threading.Thread(target=later)
    other.start()
    for event in watcher.stream(
        core.list_namespaced_config_map, NAMESPACE, resource_version=since, timeout_seconds=20
    ):
        told.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            watcher.stop()
    other.join()
    assert told == [("ADDED", "b"), ("DELETED", "b")], told


def streams() -> None:
    def run(*command: str, **options: bool) -> stream.ws_client.WSClient:
        wanted = {"stderr": True, "stdin": False, "stdout": True, "tty": False, **options}
        return stream.stream(
            core.connect_get_namespaced_pod_exec,
            "web",
            NAMESPACE,
            command=list(command),
            container="web",
            **wanted,
        )

    with refused(400, "BadRequest"):
        core.read_namespaced_pod_log("web", NAMESPACE)
    assert core.read_namespaced_pod_log("web", NAMESPACE, container="web") == "started\n"
    assert sorted(run("sh", "-c", "echo out; echo err >&2").split()) == ["err", "out"]
    it = run("sh", "-c", "read X; echo got $X; exit 7", stdin=True, _preload_content=False)
    it.write_stdin("abc\n")
    said = ""
    while it.is_open():
        it.update(timeout=1)
        said += it.read_stdout() if it.peek_stdout() else ""
    assert (said, it.returncode) == ("got abc\n", 7)
    forward = portforward(core.connect_get_namespaced_pod_portforward, "web", NAMESPACE, ports="8080")
    with closing(forward.socket(8080)) as socket:
        socket.setblocking(True)
        socket.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: socket.recv(1024), b""))
    assert answer.endswith(b"page\n"), answer
    assert forward.error(8080) is None
    forward = portforward(core.connect_get_namespaced_pod_portforward, "web", NAMESPACE, ports="81")
    with closing(forward.socket(81)) as socket:
        socket.setblocking(True)
        assert socket.recv(10) == b""
    assert "81" in forward.error(81)


def custom_objects() -> None:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
        "type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}}  # fmt: skip
    names = {"plural": "foos", "kind": "Foo"}
    spec = {"group": "ex.io", "scope": "Namespaced", "names": names, "versions": [version]}
    definitions = client.ApiextensionsV1Api()
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "foos.ex.io"},
    }
    definitions.create_custom_resource_definition({**definition, "spec": spec})
    where = ("ex.io", "v1", NAMESPACE, "foos")
    foo = {"apiVersion": "ex.io/v1", "kind": "Foo", "metadata": {"name": "f"}, "spec": {"a": 1}}
    custom.create_namespaced_custom_object(*where, foo)
    custom.patch_namespaced_custom_object(*where, "f", {"spec": {"b": 2}})
    assert custom.get_namespaced_custom_object(*where, "f")["spec"] == {"a": 1, "b": 2}
    assert len(custom.list_cluster_custom_object("ex.io", "v1", "foos")["items"]) == 1
    anything = dynamic.DynamicClient(client.ApiClient())
    found = anything.resources.get(api_version="ex.io/v1", kind="Foo").get(name="f", namespace=NAMESPACE)
    assert found.spec.b == 2
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "applied", "namespace": NAMESPACE},
        "data": {"q": "1"},
    }
    anything.resources.get(api_version="v1", kind="ConfigMap").server_side_apply(
        body=body, field_manager="me"
    )
    assert core.read_namespaced_config_map("applied", NAMESPACE).data == {"q": "1"}
    definitions.delete_custom_resource_definition("foos.ex.io")


def workloads() -> None:
    pod = {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "x", "image": "busybox:1", "command": ["sleep", "1000"]}],
    }
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    apps.create_namespaced_deployment(NAMESPACE, body)
    apps.patch_namespaced_deployment_scale("d", NAMESPACE, {"spec": {"replicas": 2}})
    assert apps.read_namespaced_deployment_scale("d", NAMESPACE).spec.replicas == 2
    apps.delete_namespaced_deployment("d", NAMESPACE)
    core.delete_collection_namespaced_config_map(NAMESPACE)
    left = {it.metadata.name for it in core.list_namespaced_config_map(NAMESPACE).items}
    assert left <= {"kube-root-ca.crt"}, left
    review = client.AuthenticationV1Api().create_token_review({"spec": {"token": "nonsense"}})
    assert not review.status.authenticated


STEPS: list[Callable[[], None]] = [objects, watching, streams, custom_objects, workloads]
for step in STEPS:
    step()
    print(step.__name__, flush=True)
print("done")
