"""Where does traffic enter the mesh? The ingress gateway: a pod of the gateway template behind a LoadBalancer."""

from __future__ import annotations

from typing import Any

from lateen.install.values import Installation

Object = dict[str, Any]

NAME = "istio-ingressgateway"
SELECTOR = {"app": NAME, "istio": "ingressgateway"}


def ingress(it: Installation) -> list[Object]:
    """ServiceAccount, Service and Deployment."""
    labels = {
        "app.kubernetes.io/managed-by": "lateen", "app.kubernetes.io/part-of": "istio",
        "operator.istio.io/component": "IngressGateways", "istio.io/rev": it.revision or "default", **SELECTOR,
    }  # fmt: skip
    account = f"{NAME}-service-account"
    return [
        {
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": it.namespace, "labels": labels},
        },
        _service(it, labels),
        _deployment(it, labels, account),
    ]  # fmt: skip


def _service(it: Installation, labels: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": it.namespace, "labels": labels},
        "spec": {
            "type": "LoadBalancer",
            "selector": SELECTOR,
            "ports": [
                {"name": "status-port", "port": 15021, "targetPort": 15021, "protocol": "TCP"},
                {"name": "http2", "port": 80, "targetPort": 8080, "protocol": "TCP"},
                {"name": "https", "port": 443, "targetPort": 8443, "protocol": "TCP"},
            ],
        },
    }


def _deployment(it: Installation, labels: dict[str, str], account: str) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": it.namespace, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": SELECTOR},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": {**SELECTOR, "sidecar.istio.io/inject": "true"},
                    "annotations": {"inject.istio.io/templates": "gateway"},
                },
                "spec": {
                    "serviceAccountName": account,
                    "terminationGracePeriodSeconds": 30,
                    "containers": [
                        {
                            "name": "istio-proxy",
                            "image": "auto",
                            "ports": [
                                {"containerPort": 15021, "protocol": "TCP"},
                                {"containerPort": 8080, "protocol": "TCP"},
                                {"containerPort": 8443, "protocol": "TCP"},
                            ],
                            "resources": it.values["global"]["proxy"]["resources"],
                        }
                    ],
                },
            },
        },
    }
