"""Which VirtualService routes a host? Those a namespace sees, by gateway, its own first, with full names."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from lateen.api.networking import VirtualService
from lateen.incremental import Database, query
from lateen.names import gateways, hostname
from lateen.names.keys import ObjectKey
from lateen.policy.visibility import exported
from lateen.registry import facts

MESH = gateways.MESH


class Bound(NamedTuple):
    """A VirtualService for one host."""

    host: str
    rule: ObjectKey


class Audience(enum.IntEnum):
    """For whom a VirtualService is, from the client's side; of two for one host the smaller wins."""

    OWN = 0
    NAMED = 1
    ALL = 2


class Offered(NamedTuple):
    """A VirtualService that a client sees; in the order in which it is preferred."""

    audience: Audience
    created: str
    rule: ObjectKey


@query
def hosts(db: Database, rule: ObjectKey) -> tuple[str, ...]:
    """The hosts of a VirtualService as full names, in lower case: Envoy refuses two that differ by case alone."""
    found = db.get(VirtualService, rule)
    domain = facts.mesh_config(db).domain
    written = found.spec.hosts if found else ()
    return tuple(dict.fromkeys(hostname.full(it.lower(), rule.namespace, domain) for it in written))


@query
def bound(db: Database, client: str, gateway: str) -> tuple[Bound, ...]:
    """Who routes which host for a namespace's proxies at a gateway (or ``mesh``).

    In the mesh one VirtualService routes a host, and the most specific hosts come first. At a gateway all of a host
    do, in the order in which they are preferred
    (https://istio.io/latest/docs/ops/best-practices/traffic-management/#split-virtual-services).
    """
    offered = sorted(_offered(db, client, gateway))
    found = [Bound(host, it.rule) for it in offered for host in hosts(db, it.rule)]
    if gateway != MESH:
        return tuple(found)
    chosen: dict[str, Bound] = {}
    for it in sorted(found, key=lambda it: hostname.specificity(it.host)):
        chosen.setdefault(it.host, it)
    return tuple(chosen.values())


def _offered(db: Database, client: str, gateway: str) -> Iterator[Offered]:
    for it in db.keys(facts.virtual_services_at, gateway):
        if found := offered(db, ObjectKey(*it), client):
            yield found


def offered(db: Database, key: ObjectKey, client: str) -> Offered | None:
    """A VirtualService as a namespace sees it; none that it does not see."""
    rule = db.get(VirtualService, key)
    if rule is None:
        return None
    export_to = rule.spec.export_to or facts.mesh_config(db).default_virtual_service_export_to
    if not exported(export_to, key.namespace, client):
        return None
    return Offered(_audience(export_to, key.namespace, client), rule.metadata.creation_timestamp, key)


def _audience(export_to: Iterable[str], owner: str, client: str) -> Audience:
    """Istio asks for those kept to their namespace first, then for those given to the client's, then for all others."""
    listed = list(export_to) or ["*"]
    if "*" in listed:
        return Audience.ALL
    return Audience.OWN if owner == client else Audience.NAMED


@query
def rule_for_host(db: Database, client: str, host: str) -> ObjectKey | None:
    """The VirtualService that routes calls of a namespace to a host: the most specific that means it."""
    exact, wildcards = _by_host(db, client)
    if host in exact:
        return exact[host]
    return next((it.rule for it in wildcards if hostname.matches(it.host, host)), None)


@query
def _by_host(db: Database, client: str) -> tuple[Mapping[str, ObjectKey], tuple[Bound, ...]]:
    """What is bound in the mesh, so that a service finds its own without looking at all."""
    found = bound(db, client, MESH)
    exact = {it.host: it.rule for it in found if not hostname.is_wildcard(it.host)}
    return exact, tuple(it for it in found if hostname.is_wildcard(it.host))
