"""Which host means which routes? The route configurations of sidecars, put together from parts that are sealed already.

A port's configuration names every service that speaks HTTP there, for every namespace of callers, and one changed rule
must not build all of that again. So each virtual host is bytes on its own, those of one namespace of services are one
block, and a configuration is nothing but its blocks, one after the other. All callers share all blocks but one: only
in their own namespace do services have short names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lateen.api.mesh_config import OutboundMode
from lateen.compile import naming
from lateen.compile.callers import Asked, asked_by, reduced
from lateen.compile.horizons import Caller, Horizon
from lateen.compile.virtual_hosts import rule_routes, service_routes
from lateen.envoy import routes, wellknown
from lateen.envoy.resource import Resource
from lateen.envoy.sealing import duration, seal, sealed
from lateen.incremental import Database, query
from lateen.names import hostname
from lateen.names.keys import ServiceKey
from lateen.names.ports import RESERVED, Protocol
from lateen.policy import routing, visibility
from lateen.registry import facts, services
from lateen.registry.services import Resolution, Service

#: Hosts that are no service can only be called at the port which names without one mean.
NAMELESS = 80


@query
def configurations(db: Database, caller: Caller) -> Mapping[str, Resource]:
    """All routes of a sidecar, by name."""
    shared = [_of_port(db, caller, port) for port in http_ports(db, caller.horizon)]
    found = {it.name: it for it in shared}
    found.update(_detected(db, reduced(caller, _asked_where_detected(db, caller.horizon))))
    return found


def _of_port(db: Database, caller: Caller, port: int) -> Resource:
    # A namespace without services on this port has no short names of its own there.
    near = caller.namespace if caller.namespace in _namespaces(db, caller.horizon, port) else ""
    return configuration(db, reduced(caller, _asked_at(db, caller.horizon, port)), port, near)


@query
def configuration(db: Database, who: Caller, port: int, near: str) -> Resource:
    """The routes of all HTTP services of a port, for callers in the namespace ``near``."""
    world = who.horizon
    parts = []
    for namespace in _namespaces(db, world, port):
        asked = reduced(who, _asked_in(db, world, port, namespace))
        parts.append(_block(db, asked, port, namespace, near == namespace))
    others = _others(db, who) if port == NAMELESS else {}
    own = _pods_below(db, world, port, near) if near else frozenset()
    parts += [part for host, part in others.items() if host not in own]
    if "*" not in others:
        parts.append(_fallback(db))
    name = naming.route(port)
    return sealed(name, routes.joined(name, parts))


@query
def _block(db: Database, who: Caller, port: int, namespace: str, near: bool) -> bytes:
    """The virtual hosts of one namespace's services."""
    keys = _services_in(db, who.horizon, port, namespace)
    return b"".join(_virtual_host(db, who, key, port, near) for key in keys)


@query
def _virtual_host(db: Database, who: Caller, key: ServiceKey, port: int, near: bool) -> bytes:
    service = services.service(db, key)
    if service is None:
        return b""
    taken = _taken_addresses(db, who.horizon, port)
    domains = [it for it in _domains(db, service, near=near) if (key, it) not in taken]
    return routes.named_host(naming.virtual_host(key.hostname, port), domains, _routes(db, who, key, port))


@query
def _routes(db: Database, who: Caller, key: ServiceKey, port: int) -> bytes:
    """What all names of a service share."""
    return routes.routes_of_host(service_routes(db, who, key, port))


def _domains(db: Database, service: Service, *, near: bool) -> tuple[str, ...]:
    return (*_names(db, service, near=near), *service.addresses)


def _names(db: Database, service: Service, *, near: bool) -> tuple[str, ...]:
    domain = facts.mesh_config(db).domain
    names = hostname.short_names(service.key, service.key.namespace if near else "", domain)
    # The pods of a headless service have names of their own below its name.
    pods = [f"*.{it}" for it in names] if service.resolution is Resolution.HEADLESS else []
    return (*names, *pods)


@query
def _others(db: Database, who: Caller) -> Mapping[str, bytes]:
    """The virtual hosts of VirtualServices for hosts that are no service of this cluster."""
    taken = _taken_names(db, who.horizon, NAMELESS)
    made = {}
    for bound in routing.bound(db, who.horizon.namespace, routing.MESH):
        if bound.host in taken or services.by_hostname(db, bound.host) is not None:
            continue
        found = rule_routes(db, bound.rule, who, routing.MESH, NAMELESS)
        if found:
            name = naming.virtual_host(bound.host, NAMELESS)
            made[bound.host] = routes.named_host(name, [bound.host], routes.routes_of_host(found))
    return made


@query
def _fallback(db: Database) -> bytes:
    """What happens to hosts nobody knows."""
    if facts.mesh_config(db).outbound_traffic_policy.mode is OutboundMode.ALLOW_ANY:
        route: dict[str, Any] = {
            "name": "allow_any",
            "match": {"prefix": "/"},
            "route": {"cluster": wellknown.PASSTHROUGH, "timeout": duration(0)},
        }
    else:
        route = {"name": "block_all", "match": {"prefix": "/"}, "direct_response": {"status": 502}}
    return routes.named_host(route["name"], ["*"], routes.routes_of_host([route]))


# --- which services, on which ports, in which namespaces -------------------------------------


@query
def _http_services(db: Database, world: Horizon) -> Mapping[int, Mapping[str, tuple[ServiceKey, ...]]]:
    """The services that speak HTTP, by port and namespace."""
    found: dict[int, dict[str, list[ServiceKey]]] = {}
    for key in visibility.visible_services(db, world.namespace):
        service = services.service(db, key)
        for port in service.ports if service else ():
            if port.protocol.is_http and port.number not in RESERVED:
                found.setdefault(port.number, {}).setdefault(key.namespace, []).append(key)
    return {
        port: {it: tuple(dict.fromkeys(sorted(keys))) for it, keys in sorted(by_namespace.items())}
        for port, by_namespace in sorted(found.items())
    }


@query
def http_ports(db: Database, world: Horizon) -> tuple[int, ...]:
    """The ports on which some service declares HTTP."""
    return tuple(_http_services(db, world))


@query
def _namespaces(db: Database, world: Horizon, port: int) -> tuple[str, ...]:
    return tuple(_http_services(db, world).get(port, ()))


@query
def _services_in(db: Database, world: Horizon, port: int, namespace: str) -> tuple[ServiceKey, ...]:
    return _http_services(db, world).get(port, {}).get(namespace, ())


def http_services(db: Database, world: Horizon, port: int) -> Iterable[ServiceKey]:
    """The services that share the HTTP listener and the routes of a port."""
    for namespace in _namespaces(db, world, port):
        yield from _services_in(db, world, port, namespace)


@query
def _taken_addresses(db: Database, world: Horizon, port: int) -> frozenset[tuple[ServiceKey, str]]:
    """Of addresses that two services claim, who does not have them: the first by namespace and name has."""
    owners: dict[str, ServiceKey] = {}
    lost = set()
    for key in http_services(db, world, port):
        service = services.service(db, key)
        for address in service.addresses if service else ():
            if owners.setdefault(address, key) != key:
                lost.add((key, address))
    return frozenset(lost)


@query
def _taken_names(db: Database, world: Horizon, port: int) -> frozenset[str]:
    """The names that services have for callers of other namespaces."""
    found = (services.service(db, key) for key in http_services(db, world, port))
    return frozenset(name for it in found if it for name in _domains(db, it, near=False))


@query
def _pods_below(db: Database, world: Horizon, port: int, namespace: str) -> frozenset[str]:
    """The wildcards that only callers of one namespace use for pods of headless services."""
    found = (services.service(db, key) for key in _services_in(db, world, port, namespace))
    return frozenset(name for it in found if it for name in _names(db, it, near=True))


# --- ports whose protocol is found out -------------------------------------------------------


@query
def _detected_ports(db: Database, world: Horizon) -> tuple[tuple[ServiceKey, int], ...]:
    """The service ports whose protocol nobody declares."""
    return tuple(
        (key, port.number) for key in visibility.visible_services(db, world.namespace)
        if (service := services.service(db, key)) and service.resolution not in (Resolution.DNS, Resolution.ALIAS)
        for port in service.ports if port.protocol is Protocol.AUTO
    )  # fmt: skip


@query
def _detected(db: Database, who: Caller) -> Mapping[str, Resource]:
    found = (_own_configuration(db, who, key, port) for key, port in _detected_ports(db, who.horizon))
    return {it.name: it for it in found}


@query
def _own_configuration(db: Database, who: Caller, key: ServiceKey, port: int) -> Resource:
    """The routes of a service port whose protocol is found out: whoever speaks HTTP to its address means it."""
    name = naming.virtual_host(key.hostname, port)
    host = routes.virtual_host(name, ["*"], service_routes(db, who, key, port))
    return seal(name, routes.configuration(name, [host], ignore_port_in_host_matching=True))


# --- what rules want to know of callers ------------------------------------------------------


@query
def _asked_in(db: Database, world: Horizon, port: int, namespace: str) -> Asked:
    return _asked_about(db, world, _services_in(db, world, port, namespace))


@query
def _asked_at(db: Database, world: Horizon, port: int) -> Asked:
    found = [_asked_in(db, world, port, it) for it in _namespaces(db, world, port)]
    if port == NAMELESS:
        found += [asked_by(db, it.rule) for it in routing.bound(db, world.namespace, routing.MESH)]
    return Asked.union(found)


@query
def _asked_where_detected(db: Database, world: Horizon) -> Asked:
    return _asked_about(db, world, [key for key, _ in _detected_ports(db, world)])


def _asked_about(db: Database, world: Horizon, keys: Iterable[ServiceKey]) -> Asked:
    rules = (routing.rule_for_host(db, world.namespace, services.meant(db, it).hostname) for it in keys)
    return Asked.union(asked_by(db, it) for it in dict.fromkeys(rules) if it)
