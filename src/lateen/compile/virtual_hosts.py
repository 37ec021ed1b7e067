"""Which host means which routes? The route configurations of sidecars, a virtual host for each service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lateen.api.destination_rule import ConnectionPoolSettings, H2UpgradePolicy
from lateen.api.mesh_config import OutboundMode
from lateen.api.networking import Destination, VirtualService
from lateen.compile import load_balancing, naming
from lateen.compile.delegates import http_rules
from lateen.compile.horizons import Caller, Horizon
from lateen.compile.routes import Situation, Target, compiled, retried, spoken
from lateen.envoy import routes, wellknown
from lateen.envoy.resource import Resource
from lateen.envoy.sealing import duration, seal
from lateen.incremental import Database, query
from lateen.names import hostname
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.names.ports import Protocol
from lateen.policy import routing, traffic, visibility
from lateen.registry import facts, services
from lateen.registry.services import Port, Resolution, Service


@query
def http_services(db: Database, world: Horizon, port: int) -> tuple[ServiceKey, ...]:
    """The services that share the HTTP listener and the routes of a port."""
    found = []
    for key in visibility.visible_services(db, world.namespace):
        service = services.service(db, key)
        one = service.port(port) if service else None
        if one and one.protocol.is_http:
            found.append(key)
    return tuple(found)


@query
def configuration(db: Database, caller: Caller, port: int) -> Resource:
    """The routes of all HTTP services of a port."""
    seen: set[str] = set()
    hosts = []
    keys = http_services(db, caller.horizon, port)
    for key in keys:
        service = services.service(db, key)
        if service is None:
            continue
        domains = [it for it in _domains(service, caller.namespace) if it not in seen]
        seen.update(domains)
        if domains:
            found = service_routes(db, caller, key, port)
            hosts.append(routes.virtual_host(naming.virtual_host(key.hostname, port), domains, found))
    if port == 80:
        # Hosts that are no service can only be called at the port which names without one mean.
        hosts += _other_hosts(db, caller, seen)
    if "*" not in seen:
        hosts.append(fallback(db))
    name = naming.route(port)
    return seal(name, routes.configuration(name, hosts, ignore_port_in_host_matching=True))


@query
def own_configuration(db: Database, caller: Caller, key: ServiceKey, port: int) -> Resource:
    """The routes of a service port whose protocol is found out: whoever speaks HTTP to its address means it."""
    name = naming.virtual_host(key.hostname, port)
    host = routes.virtual_host(name, ["*"], service_routes(db, caller, key, port))
    return seal(name, routes.configuration(name, [host], ignore_port_in_host_matching=True))


def _domains(service: Service, namespace: str) -> tuple[str, ...]:
    names = hostname.short_names(service.key, namespace)
    # The pods of a headless service have names of their own below its name.
    pods = [f"*.{it}" for it in names] if service.resolution is Resolution.HEADLESS else []
    return (*names, *pods, *service.addresses)


def _other_hosts(db: Database, caller: Caller, seen: set[str]) -> list[Any]:
    made = []
    for bound in routing.bound(db, caller.horizon.namespace, routing.MESH):
        if bound.host in seen or services.by_hostname(db, bound.host) is not None:
            continue
        found = rule_routes(db, bound.rule, caller, routing.MESH, 80)
        if found:
            seen.add(bound.host)
            made.append(routes.virtual_host(naming.virtual_host(bound.host, 80), [bound.host], found))
    return made


def fallback(db: Database) -> Any:
    """What happens to hosts nobody knows."""
    if facts.mesh_config(db).outbound_traffic_policy.mode is OutboundMode.ALLOW_ANY:
        route = {
            "name": "allow_any",
            "match": {"prefix": "/"},
            "route": {"cluster": wellknown.PASSTHROUGH, "timeout": duration(0)},
        }
        return routes.virtual_host("allow_any", ["*"], [route])
    refused = {"name": "block_all", "match": {"prefix": "/"}, "direct_response": {"status": 502}}
    return routes.virtual_host("block_all", ["*"], [refused])


def service_routes(db: Database, caller: Caller, key: ServiceKey, port: int) -> list[routes.Fields]:
    """The routes of a service: its VirtualService's, else straight to it."""
    key = services.meant(db, key)
    rule = routing.rule_for_host(db, caller.horizon.namespace, key.hostname)
    if rule is not None:
        found = rule_routes(db, rule, caller, routing.MESH, port)
        if found:
            return found
    target = target_of(db, caller.horizon, Destination(host=key.hostname), key.namespace, port)
    action: dict[str, Any] = {"hash_policy": list(target.hashed)} if target.hashed else {}
    action |= retried(facts.mesh_config(db).default_http_retry_policy, hashed=bool(target.hashed))
    return [{**routes.forward(target.cluster, **action), **spoken(target)}]


def rule_routes(db: Database, key: ObjectKey, caller: Caller, gateway: str, port: int) -> list[routes.Fields]:
    """The routes of a VirtualService for a caller; those of TCP and TLS are not requests."""
    situation = Situation(
        gateway, port, caller.namespace, caller.labels, key.namespace, _targets(db, caller, key.namespace, port),
        facts.mesh_config(db).default_http_retry_policy,
    )  # fmt: skip
    origin = routes.shaped_by(wellknown.written_in("virtual-service", key.namespace, key.name))
    return [{**route, **origin} for it in http_rules(db, key) for route in compiled(it, situation)]


def _targets(db: Database, caller: Caller, owner: str, port: int) -> Callable[[Destination], Target]:
    return lambda destination: target_of(db, caller.horizon, destination, owner, port)


def target_of(db: Database, world: Horizon, destination: Destination, owner: str, port: int) -> Target:
    """The cluster a destination means: of a service with one port that is the port, else the one that was called."""
    host = hostname.full(destination.host, owner, facts.mesh_config(db).domain)
    named = services.by_hostname(db, host)
    key = services.meant(db, named) if named else None
    service = services.service(db, key) if key else None
    number = destination.port.number if destination.port else port
    if key is None or service is None:
        return Target(naming.outbound(host, number, destination.subset))
    if destination.port is None and len(service.ports) == 1:
        number = service.ports[0].number
    rule = traffic.rule_for(db, key, world.namespace)
    policy = traffic.policy(db, rule, destination.subset, number)
    return Target(
        naming.outbound(key.hostname, number, destination.subset),
        load_balancing.hash_policy(policy.load_balancer),
        is_upgraded(service.port(number), policy.connection_pool),
    )


def is_upgraded(port: Port | None, pool: ConnectionPoolSettings | None) -> bool:
    """Whether requests of HTTP/1.1 are carried by HTTP/2 between proxies."""
    asked = (
        pool is not None and pool.http is not None and pool.http.h2_upgrade_policy is H2UpgradePolicy.UPGRADE
    )
    return asked and port is not None and port.protocol is Protocol.HTTP


@query
def http_ports(db: Database, world: Horizon) -> tuple[int, ...]:
    """The ports on which some service declares HTTP."""
    found = {
        port.number for key in visibility.visible_services(db, world.namespace)
        if (service := services.service(db, key)) for port in service.ports if port.protocol.is_http
    }  # fmt: skip
    return tuple(sorted(found))


@query
def unknown_ports(db: Database, world: Horizon) -> tuple[tuple[ServiceKey, int], ...]:
    """The service ports whose protocol nobody declares."""
    return tuple(
        (key, port.number) for key in visibility.visible_services(db, world.namespace)
        if (service := services.service(db, key)) and service.resolution is not Resolution.DNS
        for port in service.ports if port.protocol is Protocol.AUTO
    )  # fmt: skip


@query
def configurations(db: Database, caller: Caller) -> tuple[Resource, ...]:
    """All routes of a sidecar."""
    world = caller.horizon
    shared = []
    for port in http_ports(db, world):
        # A namespace without services on this port has no short names of its own there.
        keys = http_services(db, world, port)
        own = any(key.namespace == caller.namespace for key in keys) or _asks_namespace(db)
        shared.append(configuration(db, caller if own else caller._replace(namespace=""), port))
    plain = caller if _asks_namespace(db) else caller._replace(namespace="")
    return (*shared, *(own_configuration(db, plain, key, port) for key, port in unknown_ports(db, world)))


@query
def _asks_namespace(db: Database) -> bool:
    """Whether some VirtualService distinguishes callers by their namespace."""
    for it in db.keys(facts.all_virtual_services, facts.ONLY):
        rule = db.get(VirtualService, ObjectKey(*it))
        if rule and any(match.source_namespace for one in rule.spec.http for match in one.match):
            return True
    return False
