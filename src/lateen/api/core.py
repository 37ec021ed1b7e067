"""What does Kubernetes say? Services, pods, namespaces, endpoint slices and settings, as far as a mesh reads them."""

from __future__ import annotations

from msgspec import field

from lateen.api.meta import Fact, Meta, Value


class ServicePort(Value, frozen=True):
    """One port of a service. ``target_port`` is a number, or the name of a container port."""

    port: int = 0
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str = ""
    target_port: int | str = 0
    node_port: int = 0


class ServiceSpec(Value, frozen=True):
    """``spec`` of a Service."""

    type: str = "ClusterIP"
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: list[str] = field(default_factory=list, name="clusterIPs")
    ip_families: list[str] = []
    selector: dict[str, str] = {}
    ports: list[ServicePort] = []
    external_name: str = ""
    publish_not_ready_addresses: bool = False


class Service(Fact, frozen=True):
    """A Kubernetes Service."""

    spec: ServiceSpec = ServiceSpec()


class ContainerPort(Value, frozen=True):
    """A port a container declares."""

    container_port: int = 0
    name: str = ""
    protocol: str = "TCP"


class Container(Value, frozen=True):
    """A container's name and ports."""

    name: str = ""
    ports: list[ContainerPort] = []


class PodSpec(Value, frozen=True):
    """What of a pod's ``spec`` matters to others."""

    service_account_name: str = "default"
    node_name: str = ""
    host_network: bool = False
    containers: list[Container] = []
    init_containers: list[Container] = []


class PodStatus(Value, frozen=True):
    """What of a pod's ``status`` matters to others."""

    phase: str = ""
    pod_ip: str = field(default="", name="podIP")


class OwnerReference(Value, frozen=True):
    """What made an object, or goes with it."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    controller: bool = False


class PodMeta(Meta, frozen=True):
    """A pod's ``metadata``: a StatefulSet makes one pod after another under the same name."""

    uid: str = ""
    #: After what made it, its workload is called.
    owner_references: list[OwnerReference] = []


class Pod(Fact, frozen=True):
    """A pod."""

    metadata: PodMeta = PodMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class Namespace(Fact, frozen=True):
    """A namespace; its labels and annotations decide injection, networks and defaults."""


class EndpointConditions(Value, frozen=True):
    """None means unknown, which Kubernetes defines as ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TargetReference(Value, frozen=True):
    """The pod behind an endpoint."""

    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""


class SliceEndpoint(Value, frozen=True):
    """Addresses of one backend."""

    addresses: list[str] = []
    conditions: EndpointConditions = EndpointConditions()
    hostname: str = ""
    node_name: str = ""
    zone: str = ""
    target_ref: TargetReference | None = None


class SlicePort(Value, frozen=True):
    """A port of all endpoints of a slice. ``name`` is the service port's."""

    name: str = ""
    port: int | None = None
    protocol: str = "TCP"
    app_protocol: str = ""


class EndpointSlice(Fact, frozen=True):
    """Part of a service's endpoints."""

    address_type: str = "IPv4"
    endpoints: list[SliceEndpoint] = []
    ports: list[SlicePort] = []

    @property
    def service_name(self) -> str:
        """The service it belongs to, of the same namespace."""
        return self.metadata.labels.get("kubernetes.io/service-name", "")


class ConfigMap(Fact, frozen=True):
    """Settings as text."""

    data: dict[str, str] = {}
