"""What does a rule say that leaves the rest to another VirtualService? The other's rules, under its conditions.

Istio: https://istio.io/latest/docs/reference/config/networking/virtual-service/#Delegate ; both conditions must hold,
what the delegate says comes first, and what cannot be true together is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from lateen.api.networking import (
    Delegate,
    HeaderOperations,
    Headers,
    HTTPMatchRequest,
    HTTPRoute,
    StringMatch,
    VirtualService,
)
from lateen.incremental import Database, query
from lateen.names.keys import ObjectKey
from lateen.policy.visibility import exported
from lateen.registry import facts


@query
def http_rules(db: Database, key: ObjectKey) -> tuple[HTTPRoute, ...]:
    """The rules of a VirtualService, with those of its delegates in their places."""
    rule = db.get(VirtualService, key)
    return tuple(one for it in (rule.spec.http if rule else ()) for one in _with_delegate(db, it, key))


def _with_delegate(db: Database, rule: HTTPRoute, owner: ObjectKey) -> Iterator[HTTPRoute]:
    if rule.delegate is None:
        yield rule
        return
    found = _delegated(db, rule.delegate, owner)
    for it in found.spec.http if found else ():
        matches = _both(rule.match, it.match)
        # No conditions at all are other than conditions that exclude each other.
        if it.delegate is None and (matches or not (rule.match and it.match)):
            yield _merged(rule, it, matches)


def _delegated(db: Database, delegate: Delegate, owner: ObjectKey) -> VirtualService | None:
    namespace = delegate.namespace or owner.namespace
    found = db.get(VirtualService, ObjectKey(namespace, delegate.name))
    if found is None or found.spec.hosts:
        return None  # with hosts it is a VirtualService of its own
    default = facts.mesh_config(db).default_virtual_service_export_to
    return found if exported(found.spec.export_to or default, namespace, owner.namespace) else None


def _merged(root: HTTPRoute, it: HTTPRoute, matches: list[HTTPMatchRequest]) -> HTTPRoute:
    return replace(
        it,
        name="-".join(filter(None, (root.name, it.name))),
        match=matches,
        rewrite=it.rewrite or root.rewrite,
        timeout=it.timeout or root.timeout,
        retries=it.retries or root.retries,
        fault=it.fault or root.fault,
        mirror=it.mirror or root.mirror,
        mirrors=it.mirrors or root.mirrors,
        mirror_percent=root.mirror_percent if it.mirror_percent is None else it.mirror_percent,
        mirror_percentage=it.mirror_percentage or root.mirror_percentage,
        cors_policy=it.cors_policy or root.cors_policy,
        headers=Headers(
            request=_operations(root.headers.request, it.headers.request),
            response=_operations(root.headers.response, it.headers.response),
        ),
    )


def _operations(root: HeaderOperations, it: HeaderOperations) -> HeaderOperations:
    removed = list(dict.fromkeys([*root.remove, *it.remove]))
    return HeaderOperations(set={**root.set, **it.set}, add={**root.add, **it.add}, remove=removed)


def _both(root: list[HTTPMatchRequest], own: list[HTTPMatchRequest]) -> list[HTTPMatchRequest]:
    if not root or not own:
        return root or own
    return [found for one in root for other in own if (found := _and(one, other))]


def _and(root: HTTPMatchRequest, own: HTTPMatchRequest) -> HTTPMatchRequest | None:
    """Both conditions in one, or None when they exclude each other or cannot be written as one."""
    uri = _narrower(root.uri, own.uri)
    texts = {
        name: _narrower(getattr(root, name), getattr(own, name)) for name in ("scheme", "method", "authority")
    }
    maps = {
        name: _union(getattr(root, name), getattr(own, name))
        for name in ("headers", "without_headers", "query_params", "source_labels")
    }
    port = root.port or own.port
    namespace = root.source_namespace or own.source_namespace
    gateways = [it for it in own.gateways if not root.gateways or it in root.gateways] or root.gateways
    excluded = (
        (own.port and own.port != port)
        or (own.source_namespace and own.source_namespace != namespace)
        or (own.gateways and root.gateways and not set(own.gateways) & set(root.gateways))
    )
    if excluded or _IMPOSSIBLE in (uri, *texts.values()) or None in maps.values():
        return None
    return replace(
        own, uri=uri, **texts, **maps, port=port, source_namespace=namespace, gateways=gateways,
        ignore_uri_case=root.ignore_uri_case or own.ignore_uri_case,
    )  # fmt: skip


_IMPOSSIBLE = StringMatch(exact="\0")


def _narrower(root: StringMatch | None, own: StringMatch | None) -> StringMatch | None:
    if root is None or own is None or root == own:
        return own or root
    inside = root.prefix is not None and (own.exact or own.prefix or "").startswith(root.prefix)
    return own if inside and own.regex is None else _IMPOSSIBLE


def _union(root: Mapping[str, object], own: Mapping[str, object]) -> dict[str, object] | None:
    """None when one name would need two values."""
    if any(name in own and own[name] != value for name, value in root.items()):
        return None
    return {**root, **own}
