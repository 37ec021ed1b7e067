"""VirtualServices that lead nowhere, that nobody follows, or that another one hides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from lateen.api.networking import HTTPRoute, HTTPRouteDestination, L4Route, RouteDestination, VirtualService
from lateen.api.validate.finding import Finding, warning
from lateen.incremental import Database, query
from lateen.names import hostname
from lateen.names.keys import ObjectKey
from lateen.names.ports import Protocol
from lateen.policy import delegation, routing
from lateen.policy.problems import destinations, entrances
from lateen.policy.problems.destinations import Circumstances, Use
from lateen.policy.routing import Audience, Offered
from lateen.registry import facts, services

#: So many namespaces are asked what they see: an object may name thousands.
_ASKED = 20
#: So many hosts are looked up to see whether they are misspelled.
_HOSTS = 100
#: Hosts that are no service are called at this port.
_NAMELESS = 80


def found(db: Database, key: ObjectKey) -> Iterator[Finding]:
    """All that is wrong with one."""
    it = db.get(VirtualService, key)
    if it is None:
        return
    yield from _delegates(db, key)
    if it.spec.hosts:
        yield from entrances.in_virtual_service(db, key, it)
        if routing.MESH in (it.spec.gateways or [routing.MESH]):
            yield from _misspelled(db, key, it)
            yield from _hidden(db, key, it)
    yield from _destinations(db, key, it)


def _delegates(db: Database, key: ObjectKey) -> Iterator[Finding]:
    for at, part in delegation.parts(db, key):
        path = f"spec.http[{at}].delegate"
        if part.reason:
            yield warning(path, f"{part.reason}: this rule is left out")
        elif not part.all:
            yield warning(
                path,
                f"with the rules of {part.delegate.namespace}/{part.delegate.name} this VirtualService has more than "
                f"{delegation.MOST_PAIRS} alternatives: those from the delegate's http[{part.taken}] on are left out",
            )


# --- destinations ----------------------------------------------------------------------------


def _destinations(db: Database, key: ObjectKey, it: VirtualService) -> Iterator[Finding]:
    callers = _callers(db, key)
    requests, connections = _called(db, key, True), _called(db, key, False)
    for at, rule in enumerate(it.spec.http):
        of = Circumstances(key.namespace, callers, _asked_at(rule, requests))
        yield from _requests(db, rule, f"spec.http[{at}]", of)
    for at, one in enumerate(it.spec.tcp):
        of = Circumstances(key.namespace, callers, _asked_at(one, connections))
        yield from _weighted(db, one.route, f"spec.tcp[{at}]", of)
    for at, one in enumerate(it.spec.tls):
        yield from _weighted(
            db, one.route, f"spec.tls[{at}]", Circumstances(key.namespace, callers), Use.IDLE
        )


def _requests(db: Database, rule: HTTPRoute, path: str, of: Circumstances) -> Iterator[Finding]:
    if rule.redirect or rule.direct_response:
        return
    yield from _weighted(db, rule.route, path, of)
    if rule.mirror:
        yield from destinations.wrong(db, rule.mirror, f"{path}.mirror", of, Use.COPIED)
    for at, it in enumerate(rule.mirrors):
        yield from destinations.wrong(db, it.destination, f"{path}.mirrors[{at}].destination", of, Use.COPIED)


def _weighted(
    db: Database,
    route: Iterable[HTTPRouteDestination | RouteDestination],
    path: str,
    of: Circumstances,
    use: Use = Use.SENT,
) -> Iterator[Finding]:
    several = list(route)
    for at, it in enumerate(several):
        unused = use is Use.SENT and len(several) > 1 and not it.weight
        where = f"{path}.route[{at}].destination"
        yield from destinations.wrong(db, it.destination, where, of, Use.UNUSED if unused else use)


@query
def _callers(db: Database, key: ObjectKey) -> tuple[str, ...]:
    """The namespaces whose proxies follow it; "" stands for those that see what all see. If nobody does: its own."""
    it = db.get(VirtualService, key)
    if it is None or not it.spec.hosts:
        return (key.namespace, "")
    asked: dict[str, None] = {}
    if routing.MESH in (it.spec.gateways or [routing.MESH]):
        asked.update(dict.fromkeys(_clients(db, key, it)))
    for gateway in entrances.named(db, key, it):
        asked.update((one, None) for one in entrances.homes(db, gateway) if routing.offered(db, key, one))
    return tuple(asked)[:_ASKED] or (key.namespace, "")


def _clients(db: Database, key: ObjectKey, it: VirtualService) -> tuple[str, ...]:
    """As far as it is for sidecars."""
    export_to = it.spec.export_to or facts.mesh_config(db).default_virtual_service_export_to or ["*"]
    if "~" in export_to:
        return ()
    if "*" in export_to:
        return (key.namespace, "")
    return tuple(sorted({key.namespace if one == "." else one for one in export_to}))[:_ASKED]


@query
def _called(db: Database, key: ObjectKey, requests: bool) -> frozenset[int] | None:
    """The ports at which requests, or connections, may come that it routes; None when anything may."""
    it = db.get(VirtualService, key)
    if it is None or not it.spec.hosts:
        return None
    found: set[int] = set()
    unsure: set[int] = set()  # what nobody declares is found out, and may be either
    for gateway in entrances.named(db, key, it) if requests else ():
        found |= entrances.ports(db, gateway)
    for host in routing.hosts(db, key) if routing.MESH in (it.spec.gateways or [routing.MESH]) else ():
        if hostname.is_wildcard(host):
            return None
        named = services.by_hostname(db, host)
        service = services.service(db, services.meant(db, named)) if named else None
        for one in service.ports if service else ():
            if one.protocol is Protocol.AUTO:
                unsure.add(one.number)
            elif one.protocol is not Protocol.UDP and one.protocol.is_http is requests:
                found.add(one.number)
        if service is None:
            found.add(_NAMELESS)
    return frozenset(found or unsure)


def _asked_at(rule: HTTPRoute | L4Route, called: frozenset[int] | None) -> frozenset[int] | None:
    """The ports at which one of its rules applies."""
    asked = {it.port for it in rule.match}
    return called if called is None or not asked or 0 in asked else called & asked


# --- other VirtualServices -------------------------------------------------------------------


def _misspelled(db: Database, key: ObjectKey, it: VirtualService) -> Iterator[Finding]:
    """Hosts that are no service, but nearly are. Others may be on purpose: any name can be called by its Host header."""
    for at, host in enumerate(it.spec.hosts[:_HOSTS]):
        full = hostname.full(host.lower(), key.namespace, facts.mesh_config(db).domain)
        if services.by_hostname(db, full) is None and destinations.meant(db, host.lower(), key.namespace):
            said = destinations.missing(db, host.lower(), key.namespace)
            yield warning(f"spec.hosts[{at}]", f"{said}; who calls that Service does not follow this")


def _hidden(db: Database, key: ObjectKey, it: VirtualService) -> Iterator[Finding]:
    """Of a host one VirtualService is followed in the mesh: for whom is it another than this one?"""
    contested, clients = _contested(db, key), _clients(db, key, it)
    if "" in clients:
        clients = ("",)  # whoever sees less than all follows it; that some have one of their own is meant
    for host in contested:
        won = [_winner(db, host, one) for one in clients]
        others = [one for one in won if one is not None and one.rule != key]
        if others and len(others) == len(won):
            path = f"spec.hosts[{routing.hosts(db, key).index(host)}]"
            yield warning(path, _why(db, host, others[-1], key, clients[-1]))


def _why(db: Database, host: str, winner: Offered, key: ObjectKey, client: str) -> str:
    own = routing.offered(db, key, client)
    if own is None or winner.audience < own.audience:
        where = f"namespace {client}" if client else "their namespace"
        kept = winner.audience is Audience.OWN
        why = f"it is kept to {where}" if kept else f"it is exported to {where} by name"
    elif winner.created != own.created:
        why = f"it is older (of {winner.created})"
    else:
        why = "both are equally old, and its name comes first"
    said = f"VirtualService {winner.rule} routes {host} for the same callers, since {why}"
    return f"{said}: this one has no effect there, so write all rules for a host into one"


@query
def _contested(db: Database, key: ObjectKey) -> tuple[str, ...]:
    """Its hosts which others want to route, too."""
    several = _several(db)
    return tuple(it for it in routing.hosts(db, key) if it in several)


@query
def _several(db: Database) -> Mapping[str, tuple[ObjectKey, ...]]:
    """The VirtualServices of hosts that have more than one in the mesh."""
    found: dict[str, list[ObjectKey]] = {}
    for it in db.keys(facts.virtual_services_at, routing.MESH):
        for host in routing.hosts(db, ObjectKey(*it)):
            found.setdefault(host, []).append(ObjectKey(*it))
    return {host: tuple(it) for host, it in found.items() if len(it) > 1}


@query
def _rivals(db: Database, host: str) -> tuple[ObjectKey, ...]:
    return _several(db).get(host, ())


class _Winners(NamedTuple):
    """Whom those follow that see what all see, and whom namespaces that see more."""

    public: Offered | None
    private: Mapping[str, Offered]


@query
def _winners(db: Database, host: str) -> _Winners:
    public: Offered | None = None
    private: dict[str, Offered] = {}
    for key in _rivals(db, host):
        it = db.get(VirtualService, key)
        for client in _clients(db, key, it) if it else ():
            offer = routing.offered(db, key, client)
            if offer is None:
                continue
            if offer.audience is Audience.ALL:
                public = min(public or offer, offer)
            else:
                private[client] = min(private.get(client, offer), offer)
    return _Winners(public, private)


def _winner(db: Database, host: str, client: str) -> Offered | None:
    """As ``routing.bound`` chooses, without looking at all hosts of a namespace."""
    found = _winners(db, host)
    return found.private.get(client, found.public)
