"""Is this VirtualService one that the mesh can honour?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lateen.api.networking import (
    L4MatchAttributes,
    L4Route,
    RouteDestination,
    VirtualService,
    VirtualServiceSpec,
)
from lateen.api.validate import http_route, limits, reachable, shared, texts
from lateen.api.validate.finding import Finding, Findings, check, warning
from lateen.names import hostname

_MESH = "mesh"
#: So many hosts are named in a message.
_SHOWN = 3


def virtual_service(it: VirtualService) -> Findings:
    """``spec`` of a VirtualService."""
    spec = it.spec
    at_gateway = bool(spec.gateways) and _MESH not in spec.gateways
    if not spec.hosts:
        yield from _delegate(spec)
    yield from shared.gateway_names(spec.gateways, "spec.gateways")
    yield from _hosts(spec, at_gateway=at_gateway)
    if not (spec.http or spec.tcp or spec.tls):
        yield Finding("spec", "has no routes: http, tcp or tls must be provided")
    for index, route in enumerate(spec.http):
        place = http_route.Place(f"spec.http[{index}]", delegate=not spec.hosts, at_gateway=at_gateway)
        yield from http_route.http_route(route, place)
    meant = _Meant(spec.hosts)
    for index, l4 in enumerate(spec.tls):
        yield from _tls(l4, meant, f"spec.tls[{index}]", at_gateway=at_gateway)
    for index, l4 in enumerate(spec.tcp):
        yield from _tcp(l4, f"spec.tcp[{index}]")
    yield from shared.export_to(spec.export_to, it.metadata.namespace)
    yield from limits.routes(it)
    yield from reachable.http(spec.http)
    yield from reachable.l4(spec.tls, "spec.tls")
    yield from reachable.l4(spec.tcp, "spec.tcp")


def _delegate(it: VirtualServiceSpec) -> Findings:
    """Without hosts it is the part that another VirtualService delegates to."""
    for name, written in (("gateways", it.gateways), ("tls", it.tls), ("tcp", it.tcp)):
        if written:
            yield Finding(
                f"spec.{name}",
                "needs spec.hosts: without hosts this is a delegate, which has http routes only",
            )


def _hosts(it: VirtualServiceSpec, *, at_gateway: bool) -> Findings:
    by_sni = any(match.sni_hosts for route in it.tls for match in route.match)
    for index, host in enumerate(it.hosts):
        at = f"spec.hosts[{index}]"
        if host == "*" and not at_gateway:
            yield Finding(
                at, "wildcard host * is not allowed for the mesh: name hosts, or bind it to a gateway alone"
            )
        if texts.is_address(host) or (at_gateway and by_sni and texts.is_generated(host)):
            continue
        yield from check(at, texts.wildcard_domain(host))
    for (host, index), (other, before) in overlapping(it.hosts):
        if index != before:
            later = max(index, before)
            yield Finding(
                f"spec.hosts[{later}]", f'"{host}" and "{other}" are duplicates: some name is meant by both'
            )


def overlapping(hosts: Sequence[str]) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    """Pairs of hosts, with their places, that mean some name both: for each host that overlaps at least one pair.

    Written backwards and sorted, all that ``*.com`` means stands behind it.
    """
    order = sorted((host.removeprefix("*")[::-1], host[:1] != "*", index) for index, host in enumerate(hosts))
    open_wildcards: list[tuple[str, int]] = []
    last: tuple[str, int] | None = None
    for text, exact, index in order:
        while open_wildcards and not text.startswith(open_wildcards[-1][0]):
            open_wildcards.pop()
        if open_wildcards:
            other = open_wildcards[-1][1]
            yield (hosts[index], index), (hosts[other], other)
        elif exact and last is not None and last[0] == text:
            yield (hosts[index], index), (hosts[last[1]], last[1])
        if exact:
            last = text, index
        else:
            open_wildcards.append((text, index))


class _Meant:
    """The names that ``spec.hosts`` mean, to look others up in."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = hosts
        self._exact = frozenset(it for it in hosts if not hostname.is_wildcard(it))
        self._suffixes = frozenset(it.removeprefix("*") for it in hosts if hostname.is_wildcard(it))
        self._lengths = sorted({len(it) for it in self._suffixes})

    def __contains__(self, name: str) -> bool:
        own = name.removeprefix("*")
        return name in self._exact or any(
            own[len(own) - length :] in self._suffixes for length in self._lengths if length <= len(own)
        )


def _tls(it: L4Route, meant: _Meant, at: str, *, at_gateway: bool) -> Findings:
    if not it.match:
        yield Finding(f"{at}.match", "is required: name the SNI hosts it is for")
    for index, match in enumerate(it.match):
        place = f"{at}.match[{index}]"
        if not match.sni_hosts:
            yield Finding(f"{place}.sniHosts", "is required")
        for number, name in enumerate(match.sni_hosts):
            yield from _sni(name, meant, f"{place}.sniHosts[{number}]", at_gateway=at_gateway)
        if match.source_subnet:
            yield Finding(f"{place}.sourceSubnet", "is for tcp routes only")
        yield from _match(match, place)
    yield from _destinations(it.route, f"{at}.route")


def _sni(name: str, meant: _Meant, at: str, *, at_gateway: bool) -> Findings:
    if texts.is_address(name):
        yield warning(at, "most clients send no SNI for an IP address")
        return
    if not (at_gateway and texts.is_generated(name)):
        yield from check(at, texts.wildcard_domain(name))
    if name not in meant:
        some = ", ".join(meant.hosts[:_SHOWN]) + (", ..." if len(meant.hosts) > _SHOWN else "")
        yield Finding(at, f'"{name}" is not among spec.hosts ({some}): add it there')


def _tcp(it: L4Route, at: str) -> Findings:
    for index, match in enumerate(it.match):
        place = f"{at}.match[{index}]"
        if match.sni_hosts:
            yield Finding(f"{place}.sniHosts", "is for tls routes only")
        if match.source_subnet:
            yield from check(f"{place}.sourceSubnet", texts.subnet(match.source_subnet))
        yield from _match(match, place)
    yield from _destinations(it.route, f"{at}.route")


def _match(it: L4MatchAttributes, at: str) -> Findings:
    for index, subnet in enumerate(it.destination_subnets):
        yield from check(f"{at}.destinationSubnets[{index}]", texts.subnet(subnet))
    if it.port:
        yield from check(f"{at}.port", texts.port(it.port))
    if it.source_namespace:
        yield from check(f"{at}.sourceNamespace", texts.dns_label(it.source_namespace))
    yield from check(f"{at}.sourceLabels", texts.labels(it.source_labels))
    yield from shared.gateway_names(it.gateways, f"{at}.gateways")


def _destinations(routes: Sequence[RouteDestination], at: str) -> Findings:
    if not routes:
        yield Finding(at, "is required: where do connections go?")
    for index, it in enumerate(routes):
        yield from http_route.destination(it.destination, f"{at}[{index}].destination")
    yield from http_route.weights([it.weight for it in routes], at)
