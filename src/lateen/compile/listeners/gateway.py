"""What does a gateway accept? Its servers as listeners on the ports of its pods, and the routes behind them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from lateen.api.proxy_config import ForwardClientCertDetails, Topology
from lateen.compile import naming, virtual_hosts
from lateen.compile.horizons import Caller, horizon
from lateen.compile.listeners import logs
from lateen.compile.routes import catches_all
from lateen.envoy import http, listeners, routes
from lateen.envoy.resource import Resource
from lateen.envoy.sealing import seal
from lateen.incremental import Database, query
from lateen.names.keys import ObjectKey
from lateen.names.labels import Labels
from lateen.policy import gateways
from lateen.policy.gateways import Door
from lateen.registry import facts


class Entrance(NamedTuple):
    """A gateway workload: its pod, what selects it, and what its own settings say stands before it."""

    pod: ObjectKey
    labels: Labels
    topology: Topology | None = None


@query
def all_listeners(db: Database, entrance: Entrance) -> tuple[Resource, ...]:
    """A listener for each port that speaks plain HTTP."""
    before = entrance.topology or facts.mesh_config(db).default_config.gateway_topology
    return tuple(_listener(db, it.port, before) for it in gateways.doors(db, entrance.pod, entrance.labels))


def _listener(db: Database, port: int, before: Topology) -> Resource:
    name = naming.listener("0.0.0.0", port)
    manager = http.connection_manager(
        f"outbound_{name}", http.default_filters(None), rds=http.rds(naming.gateway_route(port)),
        access_log=logs.client(db, http=True), use_remote_address={"value": True}, **_trusted(before),
    )  # fmt: skip
    chain = listeners.chain("", [manager])  # Istio gives it no name, and patches find it by what it matches
    first = [listeners.proxy_protocol()] if before.proxy_protocol is not None else []
    made = listeners.listener(
        name, "0.0.0.0", port, [chain], traffic_direction="OUTBOUND", listener_filters=first
    )
    return seal(name, made)


def _trusted(before: Topology) -> dict[str, Any]:
    """What of a request's account of its own way is believed. Without balancers in front: nothing."""
    details = before.forward_client_cert_details
    if details is ForwardClientCertDetails.UNDEFINED:
        details = ForwardClientCertDetails.SANITIZE_SET
    found: dict[str, Any] = {"forward_client_cert_details": str(details)}
    if before.num_trusted_proxies:
        found["xff_num_trusted_hops"] = before.num_trusted_proxies
    if details in (ForwardClientCertDetails.SANITIZE_SET, ForwardClientCertDetails.APPEND_FORWARD):
        shown = {"subject": {"value": True}, "uri": True, "dns": True, "cert": True}
        found["set_current_client_cert_details"] = shown
    return found


@query
def configurations(db: Database, entrance: Entrance) -> tuple[Resource, ...]:
    """The routes of each port."""
    namespace = entrance.pod.namespace
    caller = Caller(horizon(db, namespace), namespace, entrance.labels)
    return tuple(_configuration(db, caller, it) for it in gateways.doors(db, entrance.pod, entrance.labels))


def _configuration(db: Database, caller: Caller, door: Door) -> Resource:
    # By host, then by what leads there: two servers of one port may name one host and lead to one VirtualService.
    found: dict[str, dict[tuple[ObjectKey, str, int], list[routes.Fields]]] = {}
    ports: dict[str, int] = {}
    redirected: set[str] = set()
    for server in door.servers:
        for host, rule in gateways.routed(db, caller.namespace, server):
            leading = (rule, server.name, server.port)
            if leading in found.get(host, ()):
                continue
            if made := virtual_hosts.rule_routes(db, rule, caller, server.name, server.port):
                found.setdefault(host, {})[leading] = made
                ports.setdefault(host, server.port)
        if server.redirects:
            own = {host for _, host in server.hosts}
            redirected |= own | {it.host for it in gateways.routed(db, caller.namespace, server)}
            ports = dict.fromkeys(sorted(own), server.port) | ports
    hosts = [
        _host(host, port, found.get(host, {}).values(), redirected=host in redirected)
        for host, port in ports.items()
    ]
    if not hosts:
        hosts = [routes.virtual_host(naming.virtual_host("blackhole", door.servers[0].port), ["*"], [])]
    hosts.sort(key=lambda it: str(it.name))
    name = naming.gateway_route(door.port)
    return seal(name, routes.configuration(name, hosts, ignore_port_in_host_matching=True))


def _host(host: str, port: int, parts: Iterable[list[routes.Fields]], *, redirected: bool) -> Any:
    # What catches all of one VirtualService would hide what a later one says (Istio: SortVHostRoutes).
    ordered = sorted((route for part in parts for route in part), key=catches_all)
    fields = {"require_tls": "ALL"} if redirected else {}
    return routes.virtual_host(naming.virtual_host(host, port), [host], ordered, **fields)
