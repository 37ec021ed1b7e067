"""Of which objects does an installation consist? Pure: values in, Kubernetes objects out, by component."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lateen.api import crds
from lateen.install import gateway, rbac, webhooks
from lateen.install.values import Installation

Object = dict[str, Any]


@dataclass(frozen=True)
class Component:
    """What is applied together and then waited for."""

    name: str
    objects: tuple[Object, ...]
    deployments: tuple[str, ...] = ()  # of the mesh's namespace; ready before the next component starts


def components(it: Installation) -> tuple[Component, ...]:
    """In the order of installation."""
    made = [Component("Istio core", tuple(core(it)))]
    if it.has("pilot"):
        made.append(Component("Istiod", tuple(pilot(it)), (it.named("istiod"),)))
    if it.has("ingressGateway"):
        made.append(Component("Ingress gateways", tuple(gateway.ingress(it)), ("istio-ingressgateway",)))
    return tuple(made)


def labels(it: Installation, component: str) -> dict[str, str]:
    """What every object of ours carries, so that ``uninstall`` finds it."""
    return {
        "app.kubernetes.io/managed-by": "lateen",
        "app.kubernetes.io/part-of": "istio",
        "app.kubernetes.io/version": str(it.tree["tag"]),
        "operator.istio.io/component": component,
        "istio.io/rev": it.revision or "default",
    }


def core(it: Installation) -> list[Object]:
    """The namespace and the definitions of Istio's kinds."""
    namespace: Object = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": it.namespace, "labels": {"app.kubernetes.io/managed-by": "lateen"}},
    }
    definitions: list[Object] = []
    for definition in crds.manifests():
        metadata = dict(definition["metadata"])
        metadata["labels"] = {**metadata.get("labels", {}), "app.kubernetes.io/managed-by": "lateen"}
        definitions.append({**definition, "metadata": metadata})
    return [namespace, *definitions]


def pilot(it: Installation) -> list[Object]:
    """The control plane: settings, rights, workload, address, webhooks."""
    return [
        mesh_config_map(it),
        injector_config_map(it),
        *rbac.pilot(it, labels(it, "Pilot"), it.named("istiod")),
        service(it),
        deployment(it),
        *webhooks.mutating(it, labels(it, "Pilot"), it.named("istiod")),
        *webhooks.validating(it, labels(it, "Pilot"), it.named("istiod")),
    ]


def mesh_config_map(it: Installation) -> Object:
    """ConfigMap ``istio``: MeshConfig under ``mesh``, networks under ``meshNetworks``."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": it.named("istio"), "namespace": it.namespace, "labels": labels(it, "Pilot")},
        "data": {
            "mesh": yaml.safe_dump(dict(it.mesh_config), sort_keys=True),
            "meshNetworks": "networks: {}\n",
        },
    }


def injector_config_map(it: Installation) -> Object:
    """ConfigMap ``istio-sidecar-injector``: its ``values`` are what Kiali and the injector read."""
    values: dict[str, Any] = json.loads(json.dumps(it.values))
    values["global"].setdefault("proxy", {})["image"] = it.image("proxy")
    values["global"].setdefault("proxy_init", {})["image"] = it.image("proxy")
    values["global"].update(hub=it.tree["hub"], tag=it.tree["tag"], istioNamespace=it.namespace)
    values["revision"] = it.revision
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": it.named("istio-sidecar-injector"), "namespace": it.namespace, "labels": labels(it, "Pilot"),
        },
        "data": {"values": json.dumps(values, sort_keys=True, indent=2)},
    }  # fmt: skip


#: (name, port, target port): the ports Istio's tools look for (ecosystem: control plane ports).
PORTS = (
    ("grpc-xds", 15010, 15010),
    ("https-dns", 15012, 15012),
    ("https-webhook", 443, 15017),
    ("http-monitoring", 15014, 15014),
)


def service(it: Installation) -> Object:
    """Service ``istiod``: xDS and CA, webhooks, metrics."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": it.named("istiod"), "namespace": it.namespace,
            "labels": {**labels(it, "Pilot"), "app": "istiod", "istio": "pilot"},
        },
        "spec": {
            "selector": {"app": "istiod", "istio.io/rev": it.revision or "default"},
            "ports": [
                {"name": name, "port": port, "targetPort": target, "protocol": "TCP"} for name, port, target in PORTS
            ],
        },
    }  # fmt: skip


def deployment(it: Installation) -> Object:
    """Deployment ``istiod``: one process holds the control plane and the CA."""
    selector = {"app": "istiod", "istio.io/rev": it.revision or "default"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": it.named("istiod"), "namespace": it.namespace, "labels": {**labels(it, "Pilot"), **selector},
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": {**labels(it, "Pilot"), **selector, "istio": "pilot", "sidecar.istio.io/inject": "false"},
                    "annotations": {
                        "prometheus.io/port": "15014", "prometheus.io/scrape": "true", "sidecar.istio.io/inject": "false",
                    },
                },
                "spec": {
                    "serviceAccountName": it.named("istiod"),
                    "terminationGracePeriodSeconds": 30,
                    "containers": [_discovery(it)],
                },
            },
        },
    }  # fmt: skip


def _discovery(it: Installation) -> Object:
    return {
        "name": "discovery",
        "image": it.image("pilot"),
        "args": ["discovery", "--monitoringAddr=:15014", "--domain", "cluster.local"],
        "ports": [
            {"containerPort": port, "name": name, "protocol": "TCP"}
            for name, port in (
                ("http-debug", 8080), ("grpc-xds", 15010), ("tls-xds", 15012), ("https-webhooks", 15017),
                ("http-monitoring", 15014),
            )
        ],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": 8080}, "initialDelaySeconds": 1, "periodSeconds": 1, "timeoutSeconds": 5,
        },
        "env": _environment(it),
        "resources": it.values["pilot"]["resources"],
        "securityContext": {
            "allowPrivilegeEscalation": False, "runAsUser": 1337, "runAsGroup": 1337, "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }  # fmt: skip


def _environment(it: Installation) -> list[Object]:
    fixed: Mapping[str, str] = {
        "REVISION": it.revision or "default",
        "CLUSTER_ID": str(it.values["global"]["clusterName"]),
        "PILOT_CERT_PROVIDER": "istiod",
        "LOG_LEVEL": str(it.values["global"]["logging"]["level"]),
        "MESH_CONFIG_MAP": it.named("istio"),
        "INJECTOR_CONFIG_MAP": it.named("istio-sidecar-injector"),
        "ISTIOD_SERVICE": it.named("istiod"),
    }
    fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "SERVICE_ACCOUNT": "spec.serviceAccountName",
        "POD_IP": "status.podIP",
    }
    chosen = {**fixed, **{str(k): str(v) for k, v in it.values["pilot"]["env"].items()}}
    return [{"name": name, "value": value} for name, value in chosen.items()] + [
        {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
        for name, path in fields.items()
    ]
