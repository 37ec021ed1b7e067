"""What does a gateway accept? Its servers as listeners on the ports of its pods, and the routes behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from lateen.api.gateway import Gateway, Server
from lateen.compile import naming, virtual_hosts
from lateen.compile.horizons import Caller, horizon
from lateen.compile.listeners import logs
from lateen.envoy import http, listeners, routes
from lateen.envoy.resource import Resource
from lateen.envoy.sealing import seal
from lateen.incremental import Database, query
from lateen.names.keys import ObjectKey
from lateen.names.labels import Labels
from lateen.policy import gateways
from lateen.policy.gateways import OpenServer
from lateen.registry import workloads


class Entrance(NamedTuple):
    """A gateway workload: its pod, and what selects it."""

    pod: ObjectKey
    labels: Labels


@query
def targets(db: Database, pod: ObjectKey) -> tuple[tuple[int, int], ...]:
    """The gateway's Service says on which port of the pod each of its ports arrives."""
    return tuple((it.service_port, it.number) for it in workloads.served_ports(db, pod))


def _plain_ports(opened: Sequence[OpenServer]) -> tuple[int, ...]:
    return tuple(sorted({it.port for it in opened if it.protocol in ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")}))


@query
def all_listeners(db: Database, entrance: Entrance) -> tuple[Resource, ...]:
    """A listener for each port that speaks plain HTTP."""
    ports = dict(targets(db, entrance.pod))
    made: dict[str, Resource] = {}
    for port in _plain_ports(gateways.servers(db, entrance.labels)):
        target = ports.get(port, port)
        name = naming.listener("0.0.0.0", target)
        manager = http.connection_manager(
            f"outbound_0.0.0.0_{target}", http.default_filters(None), rds=http.rds(naming.gateway_route(port)),
            access_log=logs.client(db, http=True), use_remote_address={"value": True},
            forward_client_cert_details="SANITIZE_SET",
            set_current_client_cert_details={"subject": {"value": True}, "uri": True, "dns": True, "cert": True},
        )  # fmt: skip
        chain = listeners.chain(name, [manager])
        made.setdefault(
            name,
            seal(name, listeners.listener(name, "0.0.0.0", target, [chain], traffic_direction="OUTBOUND")),
        )
    return tuple(made.values())


@query
def configurations(db: Database, entrance: Entrance) -> tuple[Resource, ...]:
    """The routes of each port."""
    namespace = entrance.pod.namespace
    opened = gateways.servers(db, entrance.labels)
    caller = Caller(horizon(db, namespace), namespace)
    return tuple(_configuration(db, caller, port, opened) for port in _plain_ports(opened))


def _configuration(db: Database, caller: Caller, port: int, opened: Sequence[OpenServer]) -> Resource:
    found: dict[str, list[routes.Fields]] = {}
    redirected: set[str] = set()
    for server in opened:
        if server.port != port:
            continue
        written = _written(db, server)
        redirects = bool(written and written.tls and written.tls.https_redirect)
        name = f"{server.gateway.namespace}/{server.gateway.name}"
        for bound in gateways.routed(db, caller.horizon.namespace or caller.namespace, server):
            found.setdefault(bound.host, []).extend(
                virtual_hosts.rule_routes(db, bound.rule, caller, name, port)
            )
            if redirects:
                redirected.add(bound.host)
        if redirects:
            for _, host in server.hosts:
                found.setdefault(host, [])
                redirected.add(host)
    made = [_host(host, port, found[host], redirect=host in redirected) for host in sorted(found)]
    if not made:
        made = [_host("*", port, [], redirect=False, name="blackhole")]
    name = naming.gateway_route(port)
    return seal(name, routes.configuration(name, made, ignore_port_in_host_matching=True))


def _host(host: str, port: int, found: list[routes.Fields], *, redirect: bool, name: str = "") -> Any:
    fields = {"require_tls": "ALL"} if redirect else {}
    return routes.virtual_host(name or naming.virtual_host(host, port), [host], found, **fields)


def _written(db: Database, server: OpenServer) -> Server | None:
    gateway = db.get(Gateway, server.gateway)
    if gateway is None or server.position >= len(gateway.spec.servers):
        return None
    return gateway.spec.servers[server.position]
