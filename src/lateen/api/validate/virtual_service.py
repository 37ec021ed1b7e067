"""Is this VirtualService one that the mesh can honour?"""

from __future__ import annotations

from collections.abc import Sequence

from lateen.api.networking import (
    L4MatchAttributes,
    L4Route,
    RouteDestination,
    VirtualService,
    VirtualServiceSpec,
)
from lateen.api.validate import http_route, reachable, shared, texts
from lateen.api.validate.finding import Finding, Findings, check, warning
from lateen.names import hostname

_MESH = "mesh"


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
    for index, l4 in enumerate(spec.tls):
        yield from _tls(l4, spec, f"spec.tls[{index}]", at_gateway=at_gateway)
    for index, l4 in enumerate(spec.tcp):
        yield from _tcp(l4, f"spec.tcp[{index}]")
    yield from shared.export_to(spec.export_to, it.metadata.namespace)
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
        if texts.is_address(host) or (at_gateway and by_sni and host.startswith("outbound_")):
            continue
        yield from check(at, texts.wildcard_domain(host))
        for other in it.hosts[:index]:
            if hostname.overlap(other, host):
                yield Finding(at, f'"{host}" and "{other}" are duplicates: some name is meant by both')


def _tls(it: L4Route, spec: VirtualServiceSpec, at: str, *, at_gateway: bool) -> Findings:
    if not it.match:
        yield Finding(f"{at}.match", "is required: name the SNI hosts it is for")
    for index, match in enumerate(it.match):
        place = f"{at}.match[{index}]"
        if not match.sni_hosts:
            yield Finding(f"{place}.sniHosts", "is required")
        for number, name in enumerate(match.sni_hosts):
            yield from _sni(name, spec.hosts, f"{place}.sniHosts[{number}]", at_gateway=at_gateway)
        if match.source_subnet:
            yield Finding(f"{place}.sourceSubnet", "is for tcp routes only")
        yield from _match(match, place)
    yield from _destinations(it.route, f"{at}.route")


def _sni(name: str, hosts: Sequence[str], at: str, *, at_gateway: bool) -> Findings:
    if texts.is_address(name):
        yield warning(at, "most clients send no SNI for an IP address")
        return
    if not (at_gateway and name.startswith("outbound_")):
        yield from check(at, texts.wildcard_domain(name))
    if not any(hostname.matches(host, name) for host in hosts):
        yield Finding(at, f'"{name}" is not among spec.hosts ({", ".join(hosts)}): add it there')


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
