"""The smallest mesh that shows a behaviour: a database from ordinary YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from lateen.api import mesh_config
from lateen.api.decode import KINDS, decode, kind_of
from lateen.api.meta import Fact
from lateen.incremental import Change, Database
from lateen.names import labels
from lateen.names.keys import ObjectKey, ProxyKey
from lateen.names.problems import Problem
from lateen.registry.facts import ONLY, Proxy, new_database


def mesh(*texts: str) -> Database:
    """A database which knows the objects of some YAML documents. Namespaced objects without one are in ``default``."""
    db = new_database()
    db.apply(changed(*texts))
    return db


def changed(*texts: str) -> list[Change]:
    """The changes that tell a database of these documents."""
    return [
        change
        for text in texts
        for document in yaml.safe_load_all(text)
        if document
        for change in _changes(document)
    ]


def removed(table: type[Fact], name: str, namespace: str = "default") -> Change:
    """The change that takes an object away."""
    return Change(table, ObjectKey(namespace, name), None)


def _changes(document: Mapping[str, Any]) -> Iterator[Change]:
    if document.get("kind") == "MeshConfig":
        yield Change(
            mesh_config.MeshConfig,
            ONLY,
            mesh_config.decode({k: v for k, v in document.items() if k != "kind"}),
        )
        return
    if document.get("kind") == "List":
        for it in document["items"]:
            yield from _changes(it)
        return
    metadata = dict(document.get("metadata", {}))
    if document.get("kind") != "Namespace":
        metadata.setdefault("namespace", "default")
    if kind_of(document) not in KINDS:
        return
    fact = decode({**document, "metadata": metadata})
    assert not isinstance(fact, Problem), str(fact)
    yield Change(type(fact), fact.key, fact)


def pod(name: str, address: str, app: str, *, namespace: str = "default", version: str = "v1", in_mesh: bool = True,
        ports: Mapping[str, int] | None = None) -> str:  # fmt: skip
    """YAML of a running pod."""
    marks = {"app": app, "version": version, **({"security.istio.io/tlsMode": "istio"} if in_mesh else {})}
    return yaml.safe_dump({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": marks},
        "spec": {"serviceAccountName": app, "containers": [
            {"name": "app", "ports": [{"name": it, "containerPort": number} for it, number in (ports or {}).items()]},
        ]},
        "status": {"phase": "Running", "podIP": address},
    })  # fmt: skip


def service(name: str, ports: Mapping[str, int], address: str = "10.96.0.20", *, namespace: str = "default",
            target: int = 0) -> str:  # fmt: skip
    """YAML of a Service that selects ``app: name``; ``target`` is the container port of all its ports."""
    return yaml.safe_dump({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ClusterIP", "clusterIP": address, "selector": {"app": name}, "ports": [
            {"name": it, "port": number, "targetPort": target or number, "protocol": "TCP"} for it, number in ports.items()
        ]},
    })  # fmt: skip


def endpoint_slice(
    of: str, ports: Mapping[str, int], *pods: tuple[str, str], namespace: str = "default"
) -> str:
    """YAML of an EndpointSlice of (pod name, address) pairs."""

    def backend(name: str, address: str) -> dict[str, Any]:
        target = {"kind": "Pod", "name": name, "namespace": namespace}
        return {"addresses": [address], "conditions": {"ready": True}, "targetRef": target}

    return yaml.safe_dump({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": f"{of}-x", "namespace": namespace, "labels": {"kubernetes.io/service-name": of}},
        "endpoints": [backend(*it) for it in pods],
        "ports": [{"name": it, "port": number, "protocol": "TCP"} for it, number in ports.items()],
    })  # fmt: skip


def sidecar(pod_name: str, address: str, *, namespace: str = "default", app: str = "") -> Change:
    """The change that connects the sidecar of a pod."""
    key = ProxyKey(f"sidecar~{address}~{pod_name}.{namespace}~{namespace}.svc.cluster.local")
    return Change(
        Proxy, key, Proxy(key, "sidecar", address, namespace, pod_name, labels.of({"app": app or pod_name}))
    )


def router(
    pod_name: str, address: str, selector: Mapping[str, str], *, namespace: str = "istio-system"
) -> Change:
    """The change that connects a gateway."""
    key = ProxyKey(f"router~{address}~{pod_name}.{namespace}~{namespace}.svc.cluster.local")
    return Change(Proxy, key, Proxy(key, "router", address, namespace, pod_name, labels.of(selector)))


def pod_object(
    name: str, namespace: str, labels: Mapping[str, str], account: str, address: str, ports: Mapping[str, int]
) -> str:
    """YAML of a running pod with these labels and this service account."""
    return yaml.safe_dump({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {"serviceAccountName": account, "containers": [
            {"name": "app", "ports": [{"name": it, "containerPort": number} for it, number in ports.items()]},
        ]},
        "status": {"phase": "Running", "podIP": address},
    })  # fmt: skip
