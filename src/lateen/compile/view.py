"""What should this proxy have? Everything Envoy is told, put together; start reading here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lateen.api.proxy_config import Topology
from lateen.compile import clusters
from lateen.compile.callers import caller
from lateen.compile.configurations import configurations
from lateen.compile.endpoints import load_assignment
from lateen.compile.horizons import Caller, Horizon, gateway_upstreams, horizon, upstreams
from lateen.compile.listeners import gateway, inbound, outbound
from lateen.compile.listeners.gateway import Entrance
from lateen.compile.proxyless import GENERATOR, proxyless_view
from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource, View, by_name
from lateen.incremental import Database, mapped, query
from lateen.names.keys import ObjectKey, ProxyKey
from lateen.names.labels import Labels
from lateen.registry.facts import Proxy

ROUTER, PROXYLESS = "router", "proxyless"


class Scope(NamedTuple):
    """What may differ between proxies."""

    kind: str
    pod: ObjectKey
    labels: Labels
    topology: Topology | None = None


@query
def view(db: Database, proxy: ProxyKey) -> View:
    """All resources of a proxy, by type; nothing for one that nobody introduced."""
    it = scope(db, proxy)
    if it is None:
        return {CLUSTER: {}, ENDPOINT: {}, LISTENER: {}, ROUTE: {}}
    if it.kind == ROUTER:
        return gateway_view(db, Entrance(it.pod, it.labels, it.topology))
    if it.kind == PROXYLESS:
        return proxyless_view(db, it.pod, caller(db, it.pod.namespace, it.labels))
    return sidecar_view(db, it.pod, it.labels, caller(db, it.pod.namespace, it.labels))


@query
def scope(db: Database, proxy: ProxyKey) -> Scope | None:
    """What matters of a proxy."""
    found = db.get(Proxy, proxy)
    if found is None:
        return None
    kind = PROXYLESS if found.metadata.get("GENERATOR") == GENERATOR else found.kind
    return Scope(kind, ObjectKey(found.namespace, found.pod), found.labels, found.topology)


# Entries depend on their key alone: an upstream names all that matters.
_clusters = mapped(upstreams, clusters.cluster)
_assignments = mapped(upstreams, load_assignment)
_gateway_clusters = mapped(gateway_upstreams, clusters.cluster)
_gateway_assignments = mapped(gateway_upstreams, load_assignment)


@query
def outbound_clusters(db: Database, world: Horizon) -> Mapping[str, Resource]:
    """The clusters of a world, by name."""
    return by_name((*clusters.fixed(db), *_clusters(db, world).values()))


@query
def assignments(db: Database, world: Horizon) -> Mapping[str, Resource]:
    """The endpoints of a world's clusters, by name."""
    return by_name(_assignments(db, world).values())


@query
def sidecar_view(db: Database, pod: ObjectKey, said: Labels, who: Caller) -> View:
    """Outbound as all of its world have it, inbound as only this workload has it."""
    return {
        CLUSTER: _sidecar_clusters(db, who.horizon, pod, said),
        ENDPOINT: assignments(db, who.horizon),
        LISTENER: _sidecar_listeners(db, who, pod, said),
        ROUTE: configurations(db, who),
    }


# Each type is remembered on its own: a stream need not look at a mapping that it has told already.


@query
def _sidecar_clusters(db: Database, world: Horizon, pod: ObjectKey, said: Labels) -> Mapping[str, Resource]:
    return {**outbound_clusters(db, world), **by_name(inbound.inbound_clusters(db, pod, said))}


@query
def _sidecar_listeners(db: Database, who: Caller, pod: ObjectKey, said: Labels) -> Mapping[str, Resource]:
    return {**outbound.sidecar_listeners(db, who), **by_name([inbound.virtual_inbound(db, pod, said)])}


@query
def gateway_view(db: Database, entrance: Entrance) -> View:
    """The clusters of its namespace's world, and its own doors."""
    world = horizon(db, entrance.pod.namespace)
    return {
        CLUSTER: {**outbound_clusters(db, world), **by_name(_gateway_clusters(db, world).values())},
        ENDPOINT: {**assignments(db, world), **by_name(_gateway_assignments(db, world).values())},
        LISTENER: by_name(gateway.all_listeners(db, entrance)),
        ROUTE: by_name(gateway.configurations(db, entrance)),
    }
