"""Which services exist? Kubernetes Services as hostnames with ports."""

from __future__ import annotations

import enum
from typing import NamedTuple

from lateen.api.core import Service as KubernetesService
from lateen.incremental import Database, query
from lateen.names import addresses, hostname, labels
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.names.labels import Labels
from lateen.names.ports import OBEYING, Protocol, is_number, protocol
from lateen.registry import facts


class Resolution(enum.StrEnum):
    """How the addresses behind a service are found."""

    ENDPOINTS = "ENDPOINTS"  # the control plane knows them
    HEADLESS = "HEADLESS"  # the client's DNS query chose one
    DNS = "DNS"  # Envoy asks DNS: ExternalName
    ALIAS = "ALIAS"  # as of another service: ExternalName with the name of one of this cluster


class Port(NamedTuple):
    """A port of a service. ``target`` is a number or the name of a container port, as written."""

    name: str
    number: int
    protocol: Protocol
    target: str


class Service(NamedTuple):
    """A hostname with ports, whatever its source."""

    key: ServiceKey
    name: str
    addresses: tuple[str, ...]
    ports: tuple[Port, ...]
    resolution: Resolution
    labels: Labels
    selector: Labels
    export_to: tuple[str, ...]
    external_name: str = ""
    alias_of: ServiceKey | None = None  # the service itself, at the end of a chain of aliases

    def port(self, number: int) -> Port | None:
        """The port with this number; one of UDP may have the same."""
        return next(
            (it for it in self.ports if it.number == number and it.protocol is not Protocol.UDP), None
        )


#: Each port is a listener, a cluster and routes in every proxy. What is beyond is left out, and told.
MOST_PORTS = 1_000
#: So many aliases of aliases are followed; resolvers give up as early, and a circle has no end.
LONGEST_CHAIN = 8
#: An annotation Istio reads on Services, beside ``exportTo`` of its own kinds.
EXPORT_TO = "networking.istio.io/exportTo"


@query
def of_object(db: Database, key: ObjectKey) -> Service | None:
    """The service that a Kubernetes Service is."""
    found = db.get(KubernetesService, key)
    if found is None:
        return None
    config = facts.mesh_config(db)
    spec = found.spec
    outside = spec.type == "ExternalName"
    other = _aliased(db, key) if outside else None
    meant = of_object(db, other) if other else None
    virtual = [] if outside else spec.cluster_ips or [spec.cluster_ip]
    annotated = found.metadata.annotations.get(EXPORT_TO, "")
    export_to = (
        [it.strip() for it in annotated.split(",") if it.strip()] or config.default_service_export_to or ["*"]
    )
    return Service(
        hostname.of_service(key.name, key.namespace, config.domain), key.name,
        tuple(it for it in virtual if it not in ("None", "")),
        # Who calls an alias calls the address of the service that is meant, where the alias's own ports mean nothing.
        meant.ports if meant else _ports(found),
        _resolution(found, meant), labels.of(found.metadata.labels),
        labels.NONE if outside else labels.of(spec.selector), tuple(export_to),
        spec.external_name if outside and not meant else "", meant.key if meant else None,
    )  # fmt: skip


def _resolution(found: KubernetesService, meant: Service | None) -> Resolution:
    if found.spec.type == "ExternalName":
        return Resolution.ALIAS if meant else Resolution.DNS
    return Resolution.HEADLESS if found.spec.cluster_ip in ("None", "") else Resolution.ENDPOINTS


@query
def _aliased(db: Database, key: ObjectKey) -> ObjectKey | None:
    """The service that an ExternalName is another name of; none if it leads out of the cluster, or in a circle."""
    at = key
    for _ in range(LONGEST_CHAIN + 1):
        found = db.get(KubernetesService, at)
        named = found.spec.external_name.rstrip(".") if found and found.spec.type == "ExternalName" else ""
        other = named_object(db, named)
        if other is None or db.get(KubernetesService, other) is None:
            return at if at != key else None
        at = other
    return None


def _ports(found: KubernetesService) -> tuple[Port, ...]:
    return tuple(
        Port(
            it.name,
            it.port,
            protocol(it.name, it.app_protocol, it.protocol, it.port),
            str(it.target_port or it.port),
        )
        for it in found.spec.ports[:MOST_PORTS]
        if is_number(it.port) and not leads_home(found, it.port)
    )


def leads_home(found: KubernetesService, port: int) -> bool:
    """Whether a name outside could make a proxy call itself where it obeys: it says localhost, or may be found to mean it."""
    if found.spec.type != "ExternalName":
        return False
    return port in OBEYING or addresses.is_own(found.spec.external_name)


@query
def keys(db: Database) -> tuple[ServiceKey, ...]:
    """All services by hostname, in order."""
    domain = facts.mesh_config(db).domain
    return tuple(
        hostname.of_service(it.name, it.namespace, domain) for it in db.keys(facts.all_services, facts.ONLY)
    )


@query
def service(db: Database, key: ServiceKey) -> Service | None:
    """A service by its hostname."""
    suffix = f".{key.namespace}.svc.{facts.mesh_config(db).domain}"
    if not key.hostname.endswith(suffix):
        return None
    return of_object(db, ObjectKey(key.namespace, key.hostname.removesuffix(suffix)))


def meant(db: Database, key: ServiceKey) -> ServiceKey:
    """The service itself, or the one that it is an alias of."""
    found = service(db, key)
    return (found.alias_of if found else None) or key


@query
def by_hostname(db: Database, host: str) -> ServiceKey | None:
    """The service a full name means. Kubernetes' names carry their namespace."""
    key = named_object(db, host)
    return ServiceKey(key.namespace, host) if key and of_object(db, key) else None


def named_object(db: Database, host: str) -> ObjectKey | None:
    """The Service that would have this name."""
    suffix = f".svc.{facts.mesh_config(db).domain}"
    name, dot, namespace = host.removesuffix(suffix).partition(".")
    return ObjectKey(namespace, name) if host.endswith(suffix) and dot and "." not in namespace else None
