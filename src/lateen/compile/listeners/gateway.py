"""What does a gateway accept? Its servers as listeners on the ports of its pods, and the routes behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


#: What leads somewhere: a VirtualService behind a server of a Gateway, by their names, and the server's port.
_Leading = tuple[ObjectKey, str, int]


def _configuration(db: Database, caller: Caller, door: Door) -> Resource:
    made: dict[_Leading, list[routes.Fields]] = {}
    # By host: two servers of one port may name one host, and lead to one VirtualService.
    found: dict[str, dict[_Leading, None]] = {}
    ports: dict[str, int] = {}
    redirected: set[str] = set()
    for server in door.servers:
        bound = gateways.routed(db, caller.namespace, server)
        for host, rule in bound:
            leading = (rule, server.name, server.port)
            if leading not in made:
                made[leading] = virtual_hosts.rule_routes(db, rule, caller, server.name, server.port)
            if made[leading]:
                found.setdefault(host, {})[leading] = None
                ports.setdefault(host, server.port)
        if server.redirects:
            own = {host for _, host in server.hosts}
            redirected |= own | {it.host for it in bound}
            ports = dict.fromkeys(sorted(own), server.port) | ports
    name = naming.gateway_route(door.port)
    # Hosts that lead to the same share a virtual host with the name of the first, as in Istio: rules times hosts is much.
    alike: dict[tuple[bool, tuple[_Leading, ...]], list[str]] = {}
    for host in sorted(ports):
        alike.setdefault((host in redirected, tuple(found.get(host, ()))), []).append(host)
    hosts = [
        _host(
            naming.virtual_host(names[0], ports[names[0]]), names, [made[it] for it in parts], redirected=tls
        )
        for (tls, parts), names in alike.items()
    ] or [routes.virtual_host(naming.virtual_host("blackhole", door.servers[0].port), ["*"], [])]
    hosts.sort(key=lambda it: str(it.name))
    return seal(name, routes.configuration(name, hosts, ignore_port_in_host_matching=True))


def _host(
    name: str, domains: Sequence[str], parts: Iterable[list[routes.Fields]], *, redirected: bool
) -> Any:
    # What catches all of one VirtualService would hide what a later one says (Istio: SortVHostRoutes).
    ordered = sorted((route for part in parts for route in part), key=catches_all)
    fields = {"require_tls": "ALL"} if redirected else {}
    return routes.virtual_host(name, domains, ordered, **fields)
