"""What may the control plane do? Its account, roles and bindings: reading wide, writing narrow."""

from __future__ import annotations

from typing import Any

from lateen.install.values import Installation

Object = dict[str, Any]

READ = ["get", "list", "watch"]
_API = "rbac.authorization.k8s.io"


def pilot(it: Installation, labels: dict[str, str], name: str) -> list[Object]:
    """ServiceAccount, cluster-wide reading, and writing in its own namespace."""
    cluster_name = f"{name}-clusterrole-{it.namespace}"
    meta: Object = {"name": name, "namespace": it.namespace, "labels": labels}
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": it.namespace}]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": dict(meta)},
        {
            "apiVersion": f"{_API}/v1", "kind": "ClusterRole", "metadata": {"name": cluster_name, "labels": labels},
            "rules": cluster_rules(),
        },
        {
            "apiVersion": f"{_API}/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": cluster_name, "labels": labels},
            "roleRef": {"apiGroup": _API, "kind": "ClusterRole", "name": cluster_name}, "subjects": subjects,
        },
        {"apiVersion": f"{_API}/v1", "kind": "Role", "metadata": dict(meta), "rules": own_rules()},
        {
            "apiVersion": f"{_API}/v1", "kind": "RoleBinding", "metadata": dict(meta),
            "roleRef": {"apiGroup": _API, "kind": "Role", "name": name}, "subjects": subjects,
        },
    ]  # fmt: skip


def cluster_rules() -> list[Object]:
    """Everything a mesh is made of may be read; only trust bundles and webhook CAs are written."""
    istio = ["networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io"]
    return [
        {"apiGroups": istio, "resources": ["*"], "verbs": READ},
        {
            "apiGroups": [""],
            "resources": ["pods", "services", "namespaces"],
            "verbs": READ,
        },
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": READ},
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            "verbs": [*READ, "patch"],
        },
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "verbs": [*READ, "create", "patch"],
        },
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    ]


def own_rules() -> list[Object]:
    """The CA's key is a Secret of the mesh's own namespace."""
    return [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create"]}]
