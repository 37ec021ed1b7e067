"""What does a rule say that leaves the rest to another VirtualService? The other's rules, under its conditions.

Istio: https://istio.io/latest/docs/reference/config/networking/virtual-service/#Delegate ; both conditions must hold,
what the delegate says comes first, and what cannot be true together is left out. Each of the two means its own
namespace's services by short names, so all names become full ones before anything is merged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from lateen.api.networking import (
    Destination,
    Headers,
    HTTPMatchRequest,
    HTTPMirrorPolicy,
    HTTPRoute,
    HTTPRouteDestination,
    StringMatch,
    VirtualService,
)
from lateen.incremental import Database, query
from lateen.names import gateways, hostname
from lateen.names.keys import ObjectKey
from lateen.policy import delegation
from lateen.policy.delegation import Part
from lateen.registry import facts


@query
def http_rules(db: Database, key: ObjectKey) -> tuple[HTTPRoute, ...]:
    """The rules of a VirtualService, with those of its delegates in their places, and all names in full."""
    parts = dict(delegation.parts(db, key))
    found: list[HTTPRoute] = []
    for at, it in enumerate(_own_rules(db, key)):
        found += _of_delegate(db, it, parts[at]) if at in parts else [it] if it.delegate is None else []
    return tuple(found)


@query
def _own_rules(db: Database, key: ObjectKey) -> tuple[HTTPRoute, ...]:
    """What a VirtualService says itself; short names mean what they mean in its own namespace."""
    found = db.get(VirtualService, key)
    domain = facts.mesh_config(db).domain
    return tuple(_named_in_full(it, key.namespace, domain) for it in found.spec.http) if found else ()


def _named_in_full(rule: HTTPRoute, owner: str, domain: str) -> HTTPRoute:
    def full(it: Destination) -> Destination:
        return replace(it, host=hostname.full(it.host, owner, domain))

    def sent(it: HTTPRouteDestination) -> HTTPRouteDestination:
        return replace(it, destination=full(it.destination))

    def mirrored(it: HTTPMirrorPolicy) -> HTTPMirrorPolicy:
        return replace(it, destination=full(it.destination))

    def matched(it: HTTPMatchRequest) -> HTTPMatchRequest:
        return replace(it, gateways=[gateways.full(one, owner) for one in it.gateways])

    return replace(
        rule, route=[sent(it) for it in rule.route], mirrors=[mirrored(it) for it in rule.mirrors],
        mirror=full(rule.mirror) if rule.mirror else None, match=[matched(it) for it in rule.match],
    )  # fmt: skip


def _of_delegate(db: Database, rule: HTTPRoute, part: Part) -> Iterator[HTTPRoute]:
    for it in _own_rules(db, part.delegate)[: part.taken]:
        matches = _both(rule.match, it.match)
        if it.delegate is None and matches is not None:
            yield _merged(rule, it, matches)


def _merged(root: HTTPRoute, it: HTTPRoute, matches: list[HTTPMatchRequest]) -> HTTPRoute:
    """What the delegate says replaces what the root says, part by part; headers are one part."""
    return replace(
        it,
        name="-".join(filter(None, (root.name, it.name))),
        match=matches,
        direct_response=it.direct_response or root.direct_response,
        rewrite=it.rewrite or root.rewrite,
        timeout=it.timeout or root.timeout,
        retries=it.retries or root.retries,
        fault=it.fault or root.fault,
        mirror=it.mirror or root.mirror,
        mirrors=it.mirrors or root.mirrors,
        mirror_percent=root.mirror_percent if it.mirror_percent is None else it.mirror_percent,
        mirror_percentage=it.mirror_percentage or root.mirror_percentage,
        cors_policy=it.cors_policy or root.cors_policy,
        headers=root.headers if it.headers == Headers() else it.headers,
    )


def _both(root: list[HTTPMatchRequest], own: list[HTTPMatchRequest]) -> list[HTTPMatchRequest] | None:
    """Both conditions as one list; None when an alternative of the delegate fits none of the root's, as for Istio."""
    if not root or not own:
        return root or own
    found = []
    for it in own:
        fitting = [_and(one, it) for one in root if _fits(one, it)]
        if not fitting:
            return None
        found += fitting
    return found


def _and(root: HTTPMatchRequest, own: HTTPMatchRequest) -> HTTPMatchRequest:
    return replace(
        own,
        name="-".join(filter(None, (root.name, own.name))),
        uri=own.uri or root.uri, scheme=own.scheme or root.scheme, method=own.method or root.method,
        authority=own.authority or root.authority, headers={**root.headers, **own.headers},
        without_headers={**root.without_headers, **own.without_headers},
        query_params={**root.query_params, **own.query_params}, port=own.port or root.port,
        source_labels={**root.source_labels, **own.source_labels},
        source_namespace=own.source_namespace or root.source_namespace, gateways=own.gateways or root.gateways,
        stat_prefix=own.stat_prefix or root.stat_prefix,
    )  # fmt: skip


def _fits(root: HTTPMatchRequest, own: HTTPMatchRequest) -> bool:
    """Whether what the delegate asks lies within what the root asks (Istio: ``hasConflict``).

    Where the root names a namespace of callers, the delegate need not repeat it.
    """
    texts = (
        (root.uri, own.uri),
        (root.scheme, own.scheme),
        (root.method, own.method),
        (root.authority, own.authority),
    )
    maps = (
        (root.headers, own.headers), (root.without_headers, own.without_headers),
        (root.query_params, own.query_params),
    )  # fmt: skip
    return (
        all(_within(one, other) for one, other in texts)
        and all(_within(one.get(name), it) for one, other in maps for name, it in other.items())
        and _agree(root.source_labels, own.source_labels)
        and root.ignore_uri_case == own.ignore_uri_case
        and not (root.port and own.port and root.port != own.port)
        and own.source_namespace in ("", root.source_namespace or own.source_namespace)
        and not (root.gateways and not set(own.gateways) <= set(root.gateways))
    )


def _within(root: StringMatch | None, own: StringMatch | None) -> bool:
    if root is None or own is None:
        return True
    if root.regex is not None or own.regex is not None:
        return False  # nobody can tell what two of them have in common
    if root.exact is not None:
        return own.exact == root.exact
    if root.prefix is None:
        return own == root
    said = own.exact if own.exact is not None else own.prefix
    return said is not None and said.startswith(root.prefix)


def _agree(root: Mapping[str, str], own: Mapping[str, str]) -> bool:
    return all(root.get(name, value) == value for name, value in own.items())
