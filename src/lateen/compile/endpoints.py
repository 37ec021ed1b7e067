"""Who answers for a cluster? Assignments, with what metrics and mutual TLS want to know of each endpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lateen.compile.clusters import cluster, is_discovered
from lateen.compile.horizons import Upstream
from lateen.envoy import endpoints
from lateen.envoy.resource import Resource
from lateen.envoy.sealing import seal
from lateen.incremental import Database, query
from lateen.names import labels
from lateen.names.locality import Locality
from lateen.names.metrics import Workload as Packed
from lateen.policy import authentication, traffic
from lateen.registry import endpoints as registered
from lateen.registry import facts, services
from lateen.registry.endpoints import Endpoint


@query
def load_assignment(db: Database, upstream: Upstream) -> Resource | None:
    """The endpoints of a cluster; none when it has no such cluster, or one that finds them itself."""
    made = cluster(db, upstream)
    service = services.service(db, upstream.service)
    port = service.port(upstream.port) if service else None
    if made is None or port is None or not is_discovered(db, upstream):
        return None
    member_cluster = facts.member_cluster(db)
    groups = grouped(
        (
            it.locality,
            _member(it, member_cluster, mesh=authentication.takes_mutual_tls(db, it.workload, it.port)),
        )
        for it in of_subset(db, upstream, port.name)
    )
    # Envoy keeps a changed cluster warming until it hears its endpoints again, even when they are the same
    # (envoyproxy/envoy#13009), so an assignment is as new as the cluster it belongs to.
    return seal(upstream.name, endpoints.assignment(upstream.name, groups), made.version)


def of_subset(db: Database, upstream: Upstream, port_name: str) -> Iterator[Endpoint]:
    """The endpoints that a cluster means."""
    wanted = dict(traffic.subsets(db, upstream.rule)).get(upstream.subset, labels.NONE)
    found = registered.endpoints(db, upstream.service, port_name)
    return (it for it in found if labels.matches(wanted, it.labels))


def grouped(found: Iterable[tuple[Locality, endpoints.Member]]) -> list[endpoints.Group]:
    """By place, in order."""
    places: dict[Locality, list[endpoints.Member]] = {}
    for place, member in found:
        places.setdefault(place, []).append(member)
    return [endpoints.Group(it, tuple(places[it])) for it in sorted(places)]


def _member(it: Endpoint, member_cluster: str, *, mesh: bool) -> endpoints.Member:
    found = it.workload
    packed = Packed()
    if found:
        packed = Packed(
            found.name, found.key.namespace, found.canonical_name, found.canonical_revision, member_cluster
        )
    return endpoints.Member(it.address, it.port, packed.packed(), mesh)
