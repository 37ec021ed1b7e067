"""By which keys are things called? The value types that name objects, services and proxies."""

from __future__ import annotations

from typing import NamedTuple


class ObjectKey(NamedTuple):
    """A namespaced Kubernetes object of a known kind."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class ServiceKey(NamedTuple):
    """A service of the mesh, whatever it came from: the namespace of its object, and its full hostname."""

    namespace: str
    hostname: str

    def __str__(self) -> str:
        return self.hostname


class ProxyKey(NamedTuple):
    """One Envoy, by the node id it introduced itself with (``sidecar~IP~POD.NS~NS.svc.cluster.local``)."""

    node_id: str

    def __str__(self) -> str:
        return self.node_id
