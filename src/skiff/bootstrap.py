"""What does a cluster hold from its first moment on? System namespaces, the API's and DNS's own Services, default roles."""

from __future__ import annotations

from skiff.admission.identity import system_classes
from skiff.api import Object
from skiff.apiserver.registry import Registry
from skiff.auth.authorize import bootstrap_objects
from skiff.errors import ApiError
from skiff.kinds import (
    ENDPOINT_SLICES,
    ENDPOINTS,
    NAMESPACES,
    PRIORITY_CLASSES,
    SERVICES,
    STORAGE_CLASSES,
    Kind,
)  # fmt: skip
from skiff.names import DEFAULT_CLASS, PROVISIONER, SKIP
from skiff.settings import Settings

_ALWAYS = ("default", "kube-system", "kube-public", "kube-node-lease")
#: The class of claims that name none.
_FOLDERS: Object = {
    "metadata": {"name": "standard", "annotations": {DEFAULT_CLASS: "true"}},
    "provisioner": PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", "allowVolumeExpansion": True,
}  # fmt: skip


async def bootstrap(registry: Registry, settings: Settings) -> None:
    """Create what is missing; what is there stays as it is."""
    for kind, obj in (*lasting(settings), *bootstrap_objects()):
        await _ensure(registry, kind, obj)
    for obj in system_classes():
        await _ensure(registry, PRIORITY_CLASSES, obj)
    await _ensure(registry, STORAGE_CLASSES, _FOLDERS)


def lasting(settings: Settings) -> tuple[tuple[Kind, Object], ...]:
    """What comes back when somebody deletes it: the system's namespaces, its own Services and their addresses."""
    made = _services(settings)
    return (
        *((NAMESPACES, {"metadata": {"name": it}}) for it in _ALWAYS),
        *((SERVICES, it) for it in made),
        *((ENDPOINT_SLICES, _slice(it)) for it in made),
        *((ENDPOINTS, _endpoints(it)) for it in made),
    )


async def _ensure(registry: Registry, kind: Kind, obj: Object) -> None:
    namespace = obj["metadata"].get("namespace", "")
    if registry.store.get(kind.storage, namespace, obj["metadata"]["name"]):
        return
    try:
        await registry.create(kind, namespace, obj)
    except ApiError as refused:
        if refused.reason != "AlreadyExists":
            raise


def _services(settings: Settings) -> list[Object]:
    dns = [("dns", "UDP"), ("dns-tcp", "TCP")]
    return [
        {
            "metadata": {
                "name": "kubernetes", "namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "clusterIP": settings.api_ip, "ports": [{"name": "https", "port": 443, "targetPort": 443, "protocol": "TCP"}],
            },
        },
        {
            "metadata": {
                "name": "kube-dns", "namespace": "kube-system",
                "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"},
            },
            "spec": {
                "clusterIP": settings.dns_ip,
                "ports": [{"name": name, "port": 53, "targetPort": 53, "protocol": protocol} for name, protocol in dns],
            },
        },
    ]  # fmt: skip


def _slice(service: Object) -> Object:
    """Both Services are answered by the daemon itself, at their own address inside the node's network."""
    metadata, spec = service["metadata"], service["spec"]
    ports = [{"name": it["name"], "port": it["port"], "protocol": it["protocol"]} for it in spec["ports"]]
    return {
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"],
            "labels": {"kubernetes.io/service-name": metadata["name"], "endpointslice.kubernetes.io/managed-by": "skiff"},
        },
        "addressType": "IPv4", "ports": ports,
        "endpoints": [{"addresses": [spec["clusterIP"]], "conditions": {"ready": True}}],
    }  # fmt: skip


def _endpoints(service: Object) -> Object:
    """The same for clients that know no slices."""
    metadata, piece = service["metadata"], _slice(service)
    return {
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "labels": {SKIP: "true"}},
        "subsets": [{"addresses": [{"ip": service["spec"]["clusterIP"]}], "ports": piece["ports"]}],
    }  # fmt: skip
