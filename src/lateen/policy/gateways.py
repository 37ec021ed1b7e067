"""Which servers does a gateway workload open, and who routes behind them?"""

from __future__ import annotations

from typing import NamedTuple

from lateen.api.gateway import Gateway, Server
from lateen.incremental import Database, query
from lateen.names import hostname, labels
from lateen.names.keys import ObjectKey
from lateen.names.labels import Labels
from lateen.policy import routing
from lateen.registry import facts


class OpenServer(NamedTuple):
    """One server of a Gateway. ``hosts`` are (namespace or "*", host)."""

    gateway: ObjectKey
    position: int
    port: int
    protocol: str
    hosts: tuple[tuple[str, str], ...]


@query
def servers(db: Database, workload: Labels) -> tuple[OpenServer, ...]:
    """All servers that select a workload, by port, then the oldest Gateway first.

    A Gateway selects workloads of every namespace (Istio's default, PILOT_SCOPE_GATEWAY_TO_NAMESPACE=false).
    """
    found: list[tuple[int, str, OpenServer]] = []
    for it in db.keys(facts.all_gateways, facts.ONLY):
        key = ObjectKey(*it)
        gateway = db.get(Gateway, key)
        if gateway is None or not labels.matches(labels.of(gateway.spec.selector), workload):
            continue
        for position, server in enumerate(gateway.spec.servers):
            opened = OpenServer(
                key, position, server.port.number, server.port.protocol.upper(), _hosts(server, key.namespace)
            )
            found.append((server.port.number, gateway.metadata.creation_timestamp, opened))
    return tuple(it for _, _, it in sorted(found))


def _hosts(server: Server, owner: str) -> tuple[tuple[str, str], ...]:
    """``ns/host`` restricts to VirtualServices of a namespace; ``./host`` to the Gateway's own."""
    found = []
    for it in server.hosts:
        namespace, slash, host = it.rpartition("/")
        found.append((owner if namespace == "." else (namespace if slash else "*"), host))
    return tuple(found)


@query
def routed(db: Database, namespace: str, server: OpenServer) -> tuple[routing.Bound, ...]:
    """The VirtualServices behind a server, by host. A host wider than the server's is narrowed to the server's."""
    name = f"{server.gateway.namespace}/{server.gateway.name}"
    found: dict[routing.Bound, None] = {}
    for bound in routing.bound(db, namespace, name):
        for owner, host in server.hosts:
            if owner in ("*", bound.rule.namespace) and hostname.overlap(host, bound.host):
                narrow = bound.host if hostname.matches(host, bound.host) else host
                found[routing.Bound(narrow, bound.rule)] = None
    return tuple(found)
