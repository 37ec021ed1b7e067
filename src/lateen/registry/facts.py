"""Of what is everything computed? All tables of facts, and the indexes by which they are found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lateen.api.core import EndpointSlice, Namespace, Pod, Service
from lateen.api.destination_rule import DestinationRule
from lateen.api.gateway import Gateway
from lateen.api.mesh_config import DEFAULT, MeshConfig
from lateen.api.networking import VirtualService
from lateen.api.proxy_config import Topology
from lateen.api.security import PeerAuthentication
from lateen.incremental import Database, Index, query
from lateen.names import gateways, hostname, labels
from lateen.names.keys import ProxyKey
from lateen.names.labels import Labels
from lateen.names.locality import NOWHERE, Locality

#: The one key of tables that hold a single fact.
ONLY = ""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One Envoy as it introduced itself; it becomes a fact when it connects."""

    key: ProxyKey
    kind: str  # sidecar or router
    ip: str
    namespace: str
    pod: str
    labels: Labels = labels.NONE
    service_account: str = "default"
    cluster: str = "Kubernetes"
    network: str = ""
    locality: Locality = NOWHERE
    version: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    topology: Topology | None = None  # what stands before it, where its own settings say so


@dataclass(frozen=True, slots=True)
class MemberCluster:
    """The cluster of Kubernetes whose objects these are, as the installation calls it."""

    name: str = "Kubernetes"


@dataclass(frozen=True, slots=True)
class Switches:
    """What the control plane's environment turns on, by Istio's names."""

    scope_gateways_to_namespace: bool = False  # PILOT_SCOPE_GATEWAY_TO_NAMESPACE


def _namespace(
    it: Service | Gateway | VirtualService | PeerAuthentication | DestinationRule,
) -> Iterable[str]:
    return [it.metadata.namespace]


def _address(it: Pod) -> Iterable[str]:
    """A pod that ended keeps its address in its status while another pod has it; the host's is shared by many."""
    own = it.status.pod_ip and not it.spec.host_network and it.status.phase not in ("Succeeded", "Failed")
    return [it.status.pod_ip] if own else []


services_in: Index[str, Service] = Index(Service, _namespace, "services of namespace")
all_services: Index[str, Service] = Index(Service, lambda _: [ONLY], "all services")
slices_of: Index[tuple[str, str], EndpointSlice] = Index(
    EndpointSlice, lambda it: [(it.metadata.namespace, it.service_name)], "slices of service"
)
pods_in: Index[str, Pod] = Index(Pod, lambda it: [it.metadata.namespace], "pods of namespace")
pods_at: Index[str, Pod] = Index(Pod, _address, "pods at address")
namespaces: Index[str, Namespace] = Index(Namespace, lambda _: [ONLY], "all namespaces")
virtual_services_in: Index[str, VirtualService] = Index(
    VirtualService, _namespace, "virtual services of namespace"
)
all_virtual_services: Index[str, VirtualService] = Index(
    VirtualService, lambda _: [ONLY], "all virtual services"
)
#: By each gateway for which it is, ``mesh`` among them.
virtual_services_at: Index[str, VirtualService] = Index(
    VirtualService,
    lambda it: {gateways.full(one, it.metadata.namespace) for one in it.spec.gateways or [gateways.MESH]},
    "virtual services at gateway",
)
#: (the rule's namespace, the host as it is written, which may be short: its full name depends on the mesh's domain).
rules_for_host: Index[tuple[str, str], DestinationRule] = Index(
    DestinationRule,
    lambda it: [(it.metadata.namespace, it.spec.host)],
    "destination rules for host",
)
wildcard_rules_in: Index[str, DestinationRule] = Index(
    DestinationRule,
    lambda it: [it.metadata.namespace] if hostname.is_wildcard(it.spec.host) else [],
    "wildcard destination rules of namespace",
)
all_destination_rules: Index[str, DestinationRule] = Index(
    DestinationRule, lambda _: [ONLY], "all destination rules"
)
gateways_in: Index[str, Gateway] = Index(Gateway, _namespace, "gateways of namespace")
all_gateways: Index[str, Gateway] = Index(Gateway, lambda _: [ONLY], "all gateways")
peer_authentications_in: Index[str, PeerAuthentication] = Index(
    PeerAuthentication, _namespace, "peer authentications of namespace"
)
all_peer_authentications: Index[str, PeerAuthentication] = Index(
    PeerAuthentication, lambda _: [ONLY], "all peer authentications"
)
proxies: Index[str, Proxy] = Index(Proxy, lambda _: [ONLY], "all proxies")

INDEXES = (
    services_in, all_services, slices_of, pods_in, pods_at, namespaces, virtual_services_in, all_virtual_services,
    virtual_services_at, rules_for_host, wildcard_rules_in, all_destination_rules,
    gateways_in, all_gateways, peer_authentications_in, all_peer_authentications,
    proxies,
)  # fmt: skip


def new_database() -> Database:
    """A database that knows nothing yet."""
    return Database(INDEXES)


@query
def mesh_config(db: Database) -> MeshConfig:
    """The settings of the mesh; Istio's defaults while there are none."""
    return db.get(MeshConfig, ONLY) or DEFAULT


@query
def trust_domains(db: Database) -> tuple[str, ...]:
    """The mesh's own and its aliases: while it moves from one to another, proxies show certificates of either."""
    config = mesh_config(db)
    return tuple(dict.fromkeys((config.trust_domain, *config.trust_domain_aliases)))


@query
def member_cluster(db: Database) -> str:
    """Its name in metrics."""
    return (db.get(MemberCluster, ONLY) or MemberCluster()).name


@query
def switches(db: Database) -> Switches:
    """Istio's defaults while nobody said anything."""
    return db.get(Switches, ONLY) or Switches()
