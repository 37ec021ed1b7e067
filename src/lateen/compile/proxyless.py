"""What is a gRPC client told that has no proxy? The same services, routes and endpoints, in the few words it knows.

Names are Istio's: a channel to ``xds:///reviews.default.svc.cluster.local:9080`` asks for the listener of that name,
whose routes and clusters are called ``outbound|9080||reviews.default.svc.cluster.local``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lateen.api.security import MutualTLSMode
from lateen.compile import naming
from lateen.compile.endpoints import grouped, of_subset
from lateen.compile.horizons import Caller, Horizon, Upstream, upstreams
from lateen.compile.virtual_hosts import service_routes
from lateen.envoy import endpoints, proxyless, routes, wellknown
from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource, View, by_name
from lateen.envoy.sealing import seal
from lateen.incremental import Database, mapped, query
from lateen.names import hostname
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.policy import authentication, traffic, visibility
from lateen.registry import facts, services, workloads
from lateen.registry.services import Resolution

#: How Istio's bootstrap for gRPC says who asks: node metadata ``GENERATOR``.
GENERATOR = "grpc"
#: What a server's bootstrap has for ``server_listener_resource_name_template``, before its address.
SERVER_PREFIX = "xds.istio.io/grpc/lds/inbound/"


@query
def proxyless_view(db: Database, pod: ObjectKey, who: Caller) -> View:
    """All of a client's world, and the listeners of its own servers."""
    names = _ports(db, who.horizon)
    return {
        CLUSTER: by_name(_clusters(db, who.horizon).values()),
        ENDPOINT: by_name(_assignments(db, who.horizon).values()),
        LISTENER: by_name(
            (*(it for key, port in names for it in _listeners(db, who, key, port)), *_servers(db, pod))
        ),
        ROUTE: by_name(_routes(db, who, key, port) for key, port in names),
    }


@query
def _ports(db: Database, world: Horizon) -> tuple[tuple[ServiceKey, int], ...]:
    return tuple(
        (key, port.number) for key in visibility.visible_services(db, world.namespace)
        if (service := services.service(db, key)) for port in service.ports if port.protocol != "UDP"
    )  # fmt: skip


def _targets(db: Database, key: ServiceKey, who: Caller, port: int) -> list[str]:
    domain = facts.mesh_config(db).domain
    return [f"{name}:{port}" for name in hostname.short_names(key, who.namespace, domain)]


@query
def _listeners(db: Database, who: Caller, key: ServiceKey, port: int) -> tuple[Resource, ...]:
    """One for each name that a target may have."""
    route = naming.outbound(key.hostname, port)
    return tuple(seal(name, proxyless.api_listener(name, route)) for name in _targets(db, key, who, port))


@query
def _routes(db: Database, who: Caller, key: ServiceKey, port: int) -> Resource:
    name = naming.outbound(key.hostname, port)
    domains = [it for target in _targets(db, key, who, port) for it in (target, target.rpartition(":")[0])]
    found = [_understood(it) for it in service_routes(db, who, key, port)]
    return seal(
        name,
        routes.configuration(
            name, [routes.virtual_host(naming.virtual_host(key.hostname, port), domains, found)]
        ),
    )


def _understood(route: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what a client would refuse, and with its own word for a time limit."""
    made = dict(route)
    filters = {
        name: it for name, it in made.pop("typed_per_filter_config", {}).items() if name == wellknown.FAULT
    }
    if filters:
        made["typed_per_filter_config"] = filters
    limit = made.get("route", {}).get("timeout") or {}
    if any(limit.values()):
        made["route"] = {**made["route"], "max_stream_duration": {"max_stream_duration": limit}}
    return made


@query
def _cluster(db: Database, upstream: Upstream) -> Resource | None:
    service = services.service(db, upstream.service)
    port = service.port(upstream.port) if service else None
    if service is None or port is None:
        return None
    if service.resolution is Resolution.DNS:
        return seal(upstream.name, proxyless.dns_cluster(upstream.name, service.external_name, port.number))
    policy = traffic.policy(db, upstream.rule, upstream.subset, upstream.port)
    http = policy.connection_pool.http if policy.connection_pool else None
    hashed = bool(policy.load_balancer and policy.load_balancer.consistent_hash)
    made = proxyless.cluster(
        upstream.name, hashed=hashed, max_requests=http.http2_max_requests if http else 0
    )
    return seal(upstream.name, made)


@query
def _assignment(db: Database, upstream: Upstream) -> Resource | None:
    service = services.service(db, upstream.service)
    port = service.port(upstream.port) if service else None
    if service is None or port is None or service.resolution is Resolution.DNS:
        return None
    groups = grouped(
        (it.locality, endpoints.Member(it.address, it.port, "", mesh=False))
        for it in of_subset(db, upstream, port.name)
    )
    return seal(upstream.name, endpoints.assignment(upstream.name, groups))


@query
def _servers(db: Database, pod: ObjectKey) -> tuple[Resource, ...]:
    """Of the pod's own ports. A port that must be encrypted has none: better not served than served in the clear."""
    workload = workloads.described(db, pod)
    if workload is None:
        return ()
    found = []
    for number in sorted({it.number for it in workloads.served_ports(db, pod)}):
        if authentication.mode(db, pod.namespace, workload.labels, number) is not MutualTLSMode.STRICT:
            for address, shown in (("0.0.0.0", "0.0.0.0"), ("::", "[::]")):
                name = f"{SERVER_PREFIX}{shown}:{number}"
                found.append(seal(name, proxyless.server_listener(name, address, number)))
    return tuple(found)


# Entries depend on their key alone: an upstream names all that matters.
_clusters = mapped(upstreams, _cluster)
_assignments = mapped(upstreams, _assignment)
