"""Which services exist? Kubernetes Services as hostnames with ports."""

from __future__ import annotations

import enum
from typing import NamedTuple

from lateen.api.core import Service as KubernetesService
from lateen.incremental import Database, query
from lateen.names import hostname, labels
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.names.labels import Labels
from lateen.names.ports import Protocol, protocol
from lateen.registry import facts


class Resolution(enum.StrEnum):
    """How the addresses behind a service are found."""

    ENDPOINTS = "ENDPOINTS"  # the control plane knows them
    HEADLESS = "HEADLESS"  # the client's DNS query chose one
    DNS = "DNS"  # Envoy asks DNS: ExternalName


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

    def port(self, number: int) -> Port | None:
        """The port with this number; one of UDP may have the same."""
        return next(
            (it for it in self.ports if it.number == number and it.protocol is not Protocol.UDP), None
        )


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
    resolution = Resolution.ENDPOINTS
    if spec.type == "ExternalName":
        resolution = Resolution.DNS
    elif spec.cluster_ip in ("None", ""):
        resolution = Resolution.HEADLESS
    addresses = tuple(it for it in (spec.cluster_ips or [spec.cluster_ip]) if it not in ("None", ""))
    annotated = found.metadata.annotations.get(EXPORT_TO, "")
    export_to = (
        [it.strip() for it in annotated.split(",") if it.strip()] or config.default_service_export_to or ["*"]
    )
    return Service(
        hostname.of_service(key.name, key.namespace, config.domain), key.name, addresses, _ports(found), resolution,
        labels.of(found.metadata.labels), labels.of(spec.selector), tuple(export_to), spec.external_name,
    )  # fmt: skip


def _ports(found: KubernetesService) -> tuple[Port, ...]:
    return tuple(
        Port(
            it.name,
            it.port,
            protocol(it.name, it.app_protocol, it.protocol, it.port),
            str(it.target_port or it.port),
        )
        for it in found.spec.ports
    )


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


@query
def meant(db: Database, key: ServiceKey) -> ServiceKey:
    """The service itself, or the one of this cluster whose name an ExternalName says: it is an alias then."""
    seen = [key]
    while (found := service(db, seen[-1])) and found.external_name:
        other = by_hostname(db, found.external_name.rstrip("."))
        if other is None or other in seen:
            break
        seen.append(other)
    return seen[-1]


@query
def by_hostname(db: Database, host: str) -> ServiceKey | None:
    """The service a full name means. Kubernetes' names carry their namespace."""
    suffix = f".svc.{facts.mesh_config(db).domain}"
    name, dot, namespace = host.removesuffix(suffix).partition(".")
    if not host.endswith(suffix) or not dot or "." in namespace:
        return None
    key = ServiceKey(namespace, host)
    return key if of_object(db, ObjectKey(namespace, name)) else None
