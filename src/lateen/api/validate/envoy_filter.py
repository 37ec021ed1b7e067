"""Is this EnvoyFilter one that the mesh can honour? What the patches say is Envoy's business."""

from __future__ import annotations

from lateen.api.extensions import (
    ApplyTo,
    ConfigPatch,
    EnvoyFilter,
    FilterMatch,
    ListenerMatch,
    ObjectMatch,
    PatchContext,
    PatchOperation,
)
from lateen.api.validate import expressions, shared, texts
from lateen.api.validate.finding import Finding, Findings, check, warning

#: Envoy does not get it: Istio has no limit, and so one is enough that nobody meets.
_LONGEST_VERSION = 16 * 1024
_MANAGERS = ("envoy.filters.network.http_connection_manager", "envoy.http_connection_manager")
_OF_LISTENERS = (
    ApplyTo.LISTENER,
    ApplyTo.FILTER_CHAIN,
    ApplyTo.NETWORK_FILTER,
    ApplyTo.HTTP_FILTER,
    ApplyTo.LISTENER_FILTER,
)
_OF_ROUTES = (ApplyTo.ROUTE_CONFIGURATION, ApplyTo.VIRTUAL_HOST, ApplyTo.HTTP_ROUTE)


def envoy_filter(it: EnvoyFilter) -> Findings:
    """``spec`` of an EnvoyFilter."""
    yield from shared.label_selector(it.spec.workload_selector, "spec.workloadSelector")
    yield from shared.targets(it.spec.target_refs)
    for index, patch in enumerate(it.spec.config_patches):
        yield from _patch(patch, f"spec.configPatches[{index}]")


def _patch(it: ConfigPatch, at: str) -> Findings:
    if it.apply_to is ApplyTo.INVALID:
        yield Finding(f"{at}.applyTo", "is required")
    if it.patch is None:
        yield Finding(f"{at}.patch", "is required")
    elif it.patch.operation is PatchOperation.INVALID:
        yield Finding(f"{at}.patch.operation", "is required")
    elif it.patch.operation is not PatchOperation.REMOVE and it.patch.value is None:
        yield Finding(f"{at}.patch.value", f"is required for {it.patch.operation}")
    if it.match is not None:
        yield from _match(it.match, it.apply_to, f"{at}.match")


def _match(it: ObjectMatch, apply_to: ApplyTo, at: str) -> Findings:
    if it.proxy is not None and it.proxy.proxy_version:
        yield from check(
            f"{at}.proxy.proxyVersion", expressions.regex(it.proxy.proxy_version, _LONGEST_VERSION)
        )
    others = it.listener or it.route_configuration or it.cluster
    waypoint = it.context is PatchContext.WAYPOINT
    if (it.waypoint is not None and not waypoint) or (waypoint and others):
        yield Finding(at, "only support waypointMatch when context is WAYPOINT")
        return
    if it.waypoint is not None:
        if it.waypoint.port_number:
            yield from check(f"{at}.waypoint.portNumber", texts.port(it.waypoint.port_number))
        return
    fits = {_OF_LISTENERS: ("listener", it.listener), _OF_ROUTES: ("routeConfiguration", it.route_configuration),
            (ApplyTo.CLUSTER,): ("cluster", it.cluster)}  # fmt: skip
    for kinds, (name, found) in fits.items():
        if apply_to in kinds and others is not None and found is None:
            yield Finding(at, f"{apply_to} can be matched by {name} only")
    if it.listener is not None:
        yield from _listener(it.listener, apply_to, f"{at}.listener")


def _listener(it: ListenerMatch, apply_to: ApplyTo, at: str) -> Findings:
    found = it.filter_chain.filter if it.filter_chain else None
    if found is None:
        return
    place = f"{at}.filterChain.filter"
    if apply_to in (ApplyTo.LISTENER, ApplyTo.FILTER_CHAIN):
        yield warning(place, f"has no effect on {apply_to}")
    if not found.name:
        yield Finding(f"{place}.name", "is required")
    yield from _inner(found, apply_to, place)


def _inner(it: FilterMatch, apply_to: ApplyTo, at: str) -> Findings:
    if it.sub_filter is None:
        return
    if apply_to is not ApplyTo.HTTP_FILTER:
        yield Finding(f"{at}.subFilter", "is for applyTo HTTP_FILTER only")
    if it.name and it.name not in _MANAGERS:
        yield Finding(f"{at}.name", f"a subFilter is part of {_MANAGERS[0]}")
    if not it.sub_filter.name:
        yield Finding(f"{at}.subFilter.name", "is required")
