"""Of which objects does an installation consist? Pure: values in, Kubernetes objects out, by component."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lateen.api import crds
from lateen.install import gateway, rbac, webhooks
from lateen.install.values import Installation, ValuesError

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
    marks, name = labels(it, "Pilot"), it.named("istiod")
    hooks = [*webhooks.mutating(it, marks, name), *webhooks.validating(it, marks, name)]
    return [
        mesh_config_map(it),
        injector_config_map(it),
        *rbac.pilot(it, marks, name, hooks),
        service(it),
        deployment(it),
        *hooks,
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
    for name in ("proxy", "proxy_init"):
        values["global"].setdefault(name, {}).setdefault("image", "proxy")
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
    ("https-dns", 15012, 15012),
    ("https-webhook", 443, 15017),
    ("http-monitoring", 15014, 15014),
)


def plaintext_port(it: Installation) -> int | None:
    """Where xDS is served to whoever asks, in the clear; None when it is closed, as it is unless somebody opens it."""
    address = str(it.values["pilot"].get("grpcAddr") or "")
    number = address.rpartition(":")[2]
    if not address:
        return None
    if not number.isdecimal() or not 0 < int(number) < 65536:
        raise ValuesError(
            f'values.pilot.grpcAddr: "{address}" is no address to listen on: write ":15010", or "" to close it'
        )
    return int(number)


def service(it: Installation) -> Object:
    """Service ``istiod``: xDS and CA, webhooks, metrics."""
    plain = plaintext_port(it)
    ports = ([("grpc-xds", 15010, plain)] if plain else []) + [*PORTS]
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
                {"name": name, "port": port, "targetPort": target, "protocol": "TCP"} for name, port, target in ports
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
    plain = plaintext_port(it)
    ports = [("http-debug", 8080), ("tls-xds", 15012), ("https-webhooks", 15017), ("http-monitoring", 15014)]
    if plain:
        ports.append(("grpc-xds", plain))
    return {
        "name": "discovery",
        "image": it.image("pilot"),
        "args": [
            "discovery", "--monitoringAddr=:15014", f"--grpcAddr={f':{plain}' if plain else ''}", "--domain", "cluster.local",
        ],
        "ports": [{"containerPort": port, "name": name, "protocol": "TCP"} for name, port in ports],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": 8080}, "initialDelaySeconds": 1, "periodSeconds": 1, "timeoutSeconds": 5,
        },
        # The page comes from the loop that serves proxies, and says whether changes still get through.
        "livenessProbe": {
            "httpGet": {"path": "/live", "port": 8080}, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6,
        },
        # It listens as soon as Kubernetes has answered for the first time, which may take a while after an outage.
        "startupProbe": {
            "httpGet": {"path": "/live", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 600,
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
