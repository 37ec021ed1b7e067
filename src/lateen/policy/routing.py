"""Which VirtualService routes a host? Those a namespace sees, by gateway, oldest first, with full names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lateen.api.networking import VirtualService
from lateen.incremental import Database, query
from lateen.names import hostname
from lateen.names.keys import ObjectKey
from lateen.policy.visibility import exported
from lateen.registry import facts

MESH = "mesh"


class Bound(NamedTuple):
    """A VirtualService for one host."""

    host: str
    rule: ObjectKey


@query
def hosts(db: Database, rule: ObjectKey) -> tuple[str, ...]:
    """The hosts of a VirtualService as full names."""
    found = db.get(VirtualService, rule)
    domain = facts.mesh_config(db).domain
    return (
        tuple(dict.fromkeys(hostname.full(it, rule.namespace, domain) for it in found.spec.hosts))
        if found
        else ()
    )


@query
def gateways(db: Database, rule: ObjectKey) -> tuple[str, ...]:
    """Where a VirtualService applies: ``mesh``, or ``namespace/name`` of gateways."""
    found = db.get(VirtualService, rule)
    if found is None:
        return ()
    return tuple(dict.fromkeys(_gateway(it, rule.namespace) for it in found.spec.gateways or [MESH]))


def _gateway(written: str, namespace: str) -> str:
    if written == MESH or "/" in written:
        return written
    name, dot, other = written.partition(".")  # Istio still reads name.namespace.svc.cluster.local
    return f"{other.partition('.')[0]}/{name}" if dot else f"{namespace}/{name}"


@query
def bound(db: Database, client: str, gateway: str) -> tuple[Bound, ...]:
    """Who routes which host for a namespace's proxies at a gateway (or ``mesh``), the most specific hosts first.

    In the mesh, the oldest VirtualService of a host is the only one; at a gateway, all of a host are, oldest first
    (Istio: https://istio.io/latest/docs/ops/best-practices/traffic-management/#split-virtual-services).
    """
    default = facts.mesh_config(db).default_virtual_service_export_to
    found: list[tuple[tuple[bool, int, str], str, ObjectKey, str]] = []
    for it in db.keys(facts.all_virtual_services, facts.ONLY):
        key = ObjectKey(*it)
        rule = db.get(VirtualService, key)
        if rule is None or gateway not in gateways(db, key):
            continue
        if exported(rule.spec.export_to or default, key.namespace, client):
            found += [
                (hostname.specificity(host), rule.metadata.creation_timestamp, key, host)
                for host in hosts(db, key)
            ]
    chosen: dict[str, list[Bound]] = {}
    for _, _, key, host in sorted(found):
        already = chosen.setdefault(host, [])
        if not already or gateway != MESH:
            already.append(Bound(host, key))
    return tuple(it for listed in chosen.values() for it in listed)


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
