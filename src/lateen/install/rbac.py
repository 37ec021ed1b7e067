"""What may the control plane do? Its account, roles and bindings: reading wide, writing narrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lateen.install.values import Installation

Object = dict[str, Any]

READ = ["get", "list", "watch"]
_API = "rbac.authorization.k8s.io"


def pilot(
    it: Installation, labels: dict[str, str], name: str, webhooks: Sequence[Object] = ()
) -> list[Object]:
    """ServiceAccount, cluster-wide reading, and writing in its own namespace.

    ``webhooks`` are the configurations of this installation, whose ``caBundle`` it keeps.
    """
    cluster_name = f"{name}-clusterrole-{it.namespace}"
    meta: Object = {"name": name, "namespace": it.namespace, "labels": labels}
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": it.namespace}]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": dict(meta)},
        {
            "apiVersion": f"{_API}/v1", "kind": "ClusterRole", "metadata": {"name": cluster_name, "labels": labels},
            "rules": cluster_rules(sorted({one["metadata"]["name"] for one in webhooks})),
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


def cluster_rules(webhooks: Sequence[str]) -> list[Object]:
    """Everything a mesh is made of may be read; only trust bundles and our own webhooks' CA are written, by name.

    Kubernetes cannot restrict ``create`` by name: whoever holds this account can make ConfigMaps of any other name, but
    neither read nor change them. ``list`` and ``watch`` by name are allowed with a field selector of that name.
    """
    istio = ["networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io"]
    kinds = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"]
    admission = "admissionregistration.k8s.io"
    return [
        {"apiGroups": istio, "resources": ["*"], "verbs": READ},
        {"apiGroups": [""], "resources": ["pods", "services", "namespaces"], "verbs": READ},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": READ},
        {"apiGroups": [admission], "resources": kinds, "verbs": READ},
        {"apiGroups": [admission], "resources": kinds, "verbs": ["patch"], "resourceNames": list(webhooks)},
        {
            "apiGroups": [""], "resources": ["configmaps"], "verbs": [*READ, "patch"],
            "resourceNames": ["istio-ca-root-cert"],
        },
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    ]  # fmt: skip


def own_rules() -> list[Object]:
    """In the mesh's own namespace: its settings, the Secrets that hold the CA's key, and a Gateway that is tried, not stored,
    to see validation work.
    """
    return [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": READ},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["cacerts", "istio-ca-secret"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": ["networking.istio.io"], "resources": ["gateways"], "verbs": ["create"]},
    ]  # fmt: skip
