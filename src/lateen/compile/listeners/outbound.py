"""What becomes of what an application sends? The capturing listener, and one for each port or address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lateen.api.mesh_config import OutboundMode
from lateen.api.networking import VirtualService
from lateen.compile import naming
from lateen.compile.callers import asked_by_any_connection, reduced
from lateen.compile.configurations import http_ports, http_services
from lateen.compile.horizons import Caller, Horizon
from lateen.compile.listeners import logs
from lateen.compile.routes import Situation, applies
from lateen.compile.virtual_hosts import target_of
from lateen.envoy import http, listeners, wellknown
from lateen.envoy.resource import Resource
from lateen.envoy.sealing import duration, seal
from lateen.incremental import Database, query
from lateen.names.keys import ServiceKey
from lateen.names.ports import Protocol
from lateen.policy import routing, traffic, visibility
from lateen.registry import endpoints, facts, services
from lateen.registry.services import Port, Resolution, Service


def sidecar_listeners(db: Database, caller: Caller) -> Mapping[str, Resource]:
    """Every outbound listener of a sidecar; where no rule asks who calls, the same for its whole world."""
    return _all_listeners(db, reduced(caller, asked_by_any_connection(db)))


@query
def _all_listeners(db: Database, who: Caller) -> Mapping[str, Resource]:
    world = who.horizon
    found = [virtual_outbound(db)]
    found += [shared(db, world, port) for port in http_ports(db, world)]
    for key in visibility.visible_services(db, world.namespace):
        service = services.service(db, key)
        for port in service.ports if service else ():
            if not port.protocol.is_http and port.protocol is not Protocol.UDP:
                found += of_service(db, who, key, port.number)
    # Two services may claim one address and port: the first by name has it.
    named: dict[str, Resource] = {}
    for it in found:
        named.setdefault(it.name, it)
    return named


@query
def virtual_outbound(db: Database) -> Resource:
    """Takes what is captured, and hands it to whoever has the address; what nobody has passes, or does not."""
    guard = listeners.chain(
        "virtualOutbound-blackhole",
        [listeners.tcp_proxy(wellknown.BLACK_HOLE, wellknown.BLACK_HOLE, [])],
        {"destination_port": {"value": wellknown.OUTBOUND_PORT}},
    )
    made = listeners.listener(
        wellknown.VIRTUAL_OUTBOUND, "0.0.0.0", wellknown.OUTBOUND_PORT, [guard],
        use_original_dst={"value": True}, traffic_direction="OUTBOUND", default_filter_chain=_unknown(db),
    )  # fmt: skip
    return seal(wellknown.VIRTUAL_OUTBOUND, made)


def _unknown(db: Database) -> Any:
    allowed = facts.mesh_config(db).outbound_traffic_policy.mode is OutboundMode.ALLOW_ANY
    cluster = wellknown.PASSTHROUGH if allowed else wellknown.BLACK_HOLE
    proxy = listeners.tcp_proxy(cluster, cluster, logs.client(db, http=False))
    return listeners.chain("virtualOutbound-catchall-tcp", [proxy])


@query
def shared(db: Database, world: Horizon, port: int) -> Resource:
    """All HTTP services of a port, told apart by host; other protocols pass as if nobody were here."""
    protocols = set()
    for key in http_services(db, world, port):
        service = services.service(db, key)
        one = service.port(port) if service else None
        if one:
            protocols.add(one.protocol.is_http2)
    known = protocols.pop() if len(protocols) == 1 else None
    # A service that declares HTTP may be spoken to by HTTP/2 all the same: only HTTP/2 ports are certain.
    manager = _connections(db, naming.route(port), known or None)
    name = naming.listener("0.0.0.0", port)
    chain = listeners.chain(name, [manager], _http_match())
    return seal(name, _detecting(db, name, "0.0.0.0", port, chain, _unknown(db)))


@query
def of_service(db: Database, who: Caller, key: ServiceKey, port: int) -> tuple[Resource, ...]:
    """Listeners of a port that is not declared HTTP: at the service's address, or at each endpoint's."""
    service = services.service(db, key)
    one = service.port(port) if service else None
    if service is None or one is None:
        return ()
    return tuple(
        seal(name, _listener(db, who, service, one, address, number))
        for address, number in sorted(_addresses(db, service, one))
        for name in [naming.listener(address, number)]
    )


def _addresses(db: Database, service: Service, port: Port) -> Iterator[tuple[str, int]]:
    match service.resolution:
        case Resolution.ENDPOINTS:
            found = {(it, port.number) for it in service.addresses if ":" not in it}
        case Resolution.HEADLESS:
            found = {(it.address, it.port) for it in endpoints.endpoints(db, service.key, port.name)}
        case Resolution.DNS | Resolution.ALIAS:
            return
    # What stands for all addresses belongs to the listeners of HTTP, and on some ports to the proxy itself.
    yield from (it for it in found if it[0] != "0.0.0.0")


def _listener(db: Database, who: Caller, service: Service, port: Port, address: str, number: int) -> Any:
    name = naming.listener(address, number)
    bytes_ = listeners.chain(name, [_tcp(db, who, service, port)])
    if port.protocol is not Protocol.AUTO:
        return listeners.listener(
            name, address, number, [bytes_], bind_to_port=False, traffic_direction="OUTBOUND"
        )
    manager = _connections(db, naming.virtual_host(service.key.hostname, port.number), None)
    return _detecting(
        db, name, address, number, listeners.chain(f"{name}_http", [manager], _http_match()), bytes_
    )


def _detecting(db: Database, name: str, address: str, number: int, chain: Any, other: Any) -> Any:
    return listeners.listener(
        name, address, number, [chain], bind_to_port=False, traffic_direction="OUTBOUND", default_filter_chain=other,
        listener_filters=[listeners.tls_inspector(), listeners.http_inspector()],
        listener_filters_timeout=duration(facts.mesh_config(db).protocol_detection_timeout.nanoseconds),
        continue_on_listener_filters_timeout=True,
    )  # fmt: skip


def _http_match() -> dict[str, Any]:
    return {"transport_protocol": "raw_buffer", "application_protocols": list(wellknown.HTTP_ALPN)}


def _connections(db: Database, route: str, http2: bool | None) -> Any:
    return http.connection_manager(
        f"outbound_{route}", http.default_filters(http2), rds=http.rds(route),
        access_log=logs.client(db, http=True),
    )  # fmt: skip


def _tcp(db: Database, who: Caller, service: Service, port: Port) -> Any:
    plain = naming.outbound(service.key.hostname, port.number)
    fields = _limits(db, who.horizon, service, port)
    weighted = _weighted(db, who, service, port)
    cluster = weighted[0][0] if weighted else plain
    if len(weighted) > 1:
        cluster = ""
        clusters = [{"name": name, "weight": weight} for name, weight in weighted]
        fields["weighted_clusters"] = {"clusters": clusters}
    return listeners.tcp_proxy(plain, cluster, logs.client(db, http=False), **fields)


def _limits(db: Database, world: Horizon, service: Service, port: Port) -> dict[str, Any]:
    """What of a DestinationRule Envoy wants to know where a connection comes in."""
    policy = traffic.policy(db, traffic.rule_for(db, service.key, world.namespace), "", port.number)
    tcp = policy.connection_pool.tcp if policy.connection_pool else None
    fields: dict[str, Any] = {}
    if tcp and tcp.idle_timeout:
        fields["idle_timeout"] = duration(tcp.idle_timeout.nanoseconds)
    if tcp and tcp.max_connection_duration:
        fields["max_downstream_connection_duration"] = duration(tcp.max_connection_duration.nanoseconds)
    hashed = policy.load_balancer.consistent_hash if policy.load_balancer else None
    if hashed and hashed.use_source_ip:
        fields["hash_policy"] = [{"source_ip": {}}]
    return fields


def _weighted(db: Database, who: Caller, service: Service, port: Port) -> list[tuple[str, int]]:
    """The destinations of the first TCP rule that applies to this port, if a VirtualService has one."""
    key = routing.rule_for_host(db, who.horizon.namespace, service.key.hostname)
    rule = db.get(VirtualService, key) if key else None
    if key is None or rule is None:
        return []
    situation = Situation(
        routing.MESH, port.number, who.namespace, who.labels, key.namespace,
        lambda it: target_of(db, who.horizon, it, key.namespace, port.number),
    )  # fmt: skip
    for one in rule.spec.tcp:
        holds = not one.match or any(
            applies(it.gateways, it.port, it.source_labels, it.source_namespace, situation)
            for it in one.match
        )
        if holds:
            single = len(one.route) == 1
            weights = [
                (situation.target(it.destination).cluster, it.weight or int(single)) for it in one.route
            ]
            return [it for it in weights if it[1]]
    return []
