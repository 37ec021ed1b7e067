"""Which ports does a gateway workload open, and who routes behind them?"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lateen.api.core import Pod, Service
from lateen.api.gateway import Gateway, Server
from lateen.envoy import wellknown
from lateen.incremental import Database, query
from lateen.names import hostname, labels
from lateen.names.keys import ObjectKey
from lateen.names.labels import Labels
from lateen.policy import routing
from lateen.registry import facts, services, workloads

HTTP = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")
#: The pod's agent and Envoy itself listen there: a listener more on one of them is refused.
_OWN = frozenset({wellknown.ADMIN_PORT, wellknown.AGENT_PORT, wellknown.READY_PORT, wellknown.STATS_PORT})
#: A Service with this label does not say where a Gateway's ports arrive (Istio's word, for Knative).
_NO_TRANSLATION = "experimental.istio.io/disable-gateway-port-translation"


class OpenServer(NamedTuple):
    """One server of a Gateway. ``hosts`` are (namespace or "*", host)."""

    gateway: ObjectKey
    position: int
    port: int
    hosts: tuple[tuple[str, str], ...]
    redirects: bool  # to HTTPS, whatever is asked

    @property
    def name(self) -> str:
        """Its Gateway, as VirtualServices name it."""
        return f"{self.gateway.namespace}/{self.gateway.name}"


class Door(NamedTuple):
    """A port on which a gateway's pods listen, and the servers behind it, those of the oldest Gateway first."""

    port: int
    servers: tuple[OpenServer, ...]


@query
def doors(db: Database, pod: ObjectKey, marks: Labels) -> tuple[Door, ...]:
    """All ports that speak plain HTTP, in their order.

    A server is open on every port at which its own arrives by some Service, and on its own where none leads to it.
    (Istio: ``resolvePorts``, which takes one of several.) Servers that arrive at one port share it.
    """
    found: dict[int, list[OpenServer]] = {}
    for it, port in _heard(db, pod, marks):
        if port not in _OWN:
            found.setdefault(port, []).append(it)
    return tuple(Door(port, tuple(found[port])) for port in sorted(found))


@query
def closed(db: Database, pod: ObjectKey, marks: Labels) -> tuple[tuple[OpenServer, int], ...]:
    """The servers that cannot be opened on a port, since the pod's proxy listens there."""
    return tuple((it, port) for it, port in _heard(db, pod, marks) if port in _OWN)


def _heard(db: Database, pod: ObjectKey, marks: Labels) -> Iterator[tuple[OpenServer, int]]:
    arriving = _arriving(db, pod, marks)
    for it in servers(db, pod.namespace, marks):
        for port in arriving.get(it.port, (it.port,)):
            yield it, port


@query
def _arriving(db: Database, pod: ObjectKey, marks: Labels) -> Mapping[int, tuple[int, ...]]:
    """At which ports of a pod the ports of its Services arrive. Before the pod is known, its proxy's labels count."""
    known = db.get(Pod, pod)
    own = labels.of(known.metadata.labels) if known else marks
    found: dict[int, set[int]] = {}
    for it in db.keys(facts.services_in, pod.namespace):
        written = db.get(Service, ObjectKey(*it))
        service = services.of_object(db, ObjectKey(*it))
        if written is None or service is None or not service.selector:
            continue
        if _NO_TRANSLATION in written.metadata.labels or not labels.matches(service.selector, own):
            continue
        for port in service.ports:
            if number := workloads.target_number(known or Pod(), port.target):
                found.setdefault(port.number, set()).add(number)
    return {port: tuple(sorted(targets)) for port, targets in sorted(found.items())}


@query
def servers(db: Database, namespace: str, workload: Labels) -> tuple[OpenServer, ...]:
    """All servers of plain HTTP that select a workload, those of the oldest Gateway first.

    A Gateway selects workloads of every namespace, unless PILOT_SCOPE_GATEWAY_TO_NAMESPACE says that it may not.
    """
    near = facts.switches(db).scope_gateways_to_namespace
    found: list[tuple[str, ObjectKey, Gateway]] = []
    keys = db.keys(facts.gateways_in, namespace) if near else db.keys(facts.all_gateways, facts.ONLY)
    for it in keys:
        key = ObjectKey(*it)
        gateway = db.get(Gateway, key)
        if gateway and labels.matches(labels.of(gateway.spec.selector), workload):
            found.append((gateway.metadata.creation_timestamp, key, gateway))
    found.sort(key=lambda it: it[:2])
    return tuple(
        _open(server, key, position)
        for _, key, gateway in found
        for position, server in enumerate(gateway.spec.servers)
        if server.port.protocol.upper() in HTTP
    )


def _open(it: Server, owner: ObjectKey, position: int) -> OpenServer:
    redirects = it.tls is not None and it.tls.https_redirect
    return OpenServer(owner, position, it.port.number, tuple(_hosts(it, owner.namespace)), redirects)


def _hosts(server: Server, owner: str) -> Iterator[tuple[str, str]]:
    """``ns/host`` restricts to VirtualServices of a namespace; ``./host`` to the Gateway's own."""
    for it in server.hosts:
        namespace, slash, host = it.lower().rpartition("/")
        yield owner if namespace == "." else (namespace if slash else "*"), host


@query
def routed(db: Database, namespace: str, server: OpenServer) -> tuple[routing.Bound, ...]:
    """The VirtualServices behind a server, by host. A host wider than the server's is narrowed to the server's."""
    behind = _behind(db, namespace, server.name)
    found: dict[tuple[int, str], routing.Bound] = {}
    for owner, host in server.hosts:
        for rank, narrow, rule in _meeting(behind, host):
            if owner in ("*", rule.namespace):
                found[rank, narrow] = routing.Bound(narrow, rule)
    return tuple(found[it] for it in sorted(found))


class _Behind(NamedTuple):
    """What is bound at a gateway, so that a host finds its own without looking at all: ranks by host, and bounds.

    ``backwards`` are the hosts without their star, from behind, in order: those below a wildcard stand together.
    """

    bound: tuple[routing.Bound, ...]
    ranks: Mapping[str, tuple[int, ...]]
    backwards: tuple[tuple[str, str], ...]


@query
def _behind(db: Database, namespace: str, gateway: str) -> _Behind:
    bound = routing.bound(db, namespace, gateway)
    ranks: dict[str, list[int]] = {}
    for rank, it in enumerate(bound):
        ranks.setdefault(it.host, []).append(rank)
    backwards = sorted((it.removeprefix("*")[::-1], it) for it in ranks)
    return _Behind(bound, {host: tuple(it) for host, it in ranks.items()}, tuple(backwards))


def _meeting(it: _Behind, host: str) -> Iterator[tuple[int, str, ObjectKey]]:
    """(rank, the narrower host, the VirtualService) of all that have names in common with a server's host."""
    for name, narrow in _overlapping(it, host):
        for rank in it.ranks[name]:
            yield rank, narrow, it.bound[rank].rule


def _overlapping(it: _Behind, host: str) -> Iterator[tuple[str, str]]:
    below = set()
    if hostname.is_wildcard(host):
        end = host.removeprefix("*")[::-1]
        at = bisect.bisect_left(it.backwards, (end, ""))
        while at < len(it.backwards) and it.backwards[at][0].startswith(end):
            below.add(it.backwards[at][1])
            yield it.backwards[at][1], it.backwards[at][1]
            at += 1
    elif host in it.ranks:
        yield host, host
    text = host.removeprefix("*")
    for cut in range(len(text) + 1):
        wider = f"*{text[cut:]}"
        if wider in it.ranks and wider not in below:
            yield wider, host
