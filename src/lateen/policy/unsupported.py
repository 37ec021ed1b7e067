"""What did the user write that this release does not do? Told as warnings: valid for Istio, but without effect here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from lateen.api.core import EndpointSlice, Service
from lateen.api.decode import KINDS, STORED, decode, kind_of
from lateen.api.destination_rule import DestinationRule, PortTrafficPolicy, TrafficPolicy
from lateen.api.gateway import Gateway
from lateen.api.meta import Fact
from lateen.api.networking import HTTPRoute, L4Route, VirtualService
from lateen.names import addresses
from lateen.names.ports import RESERVED, is_number, protocol
from lateen.names.problems import Problem, Severity
from lateen.policy.gateways import HTTP
from lateen.registry.services import MOST_PORTS, leads_home

Findings: TypeAlias = Iterator[tuple[str, str]]

_NOTHING = "is stored, but has no effect in this release"
_STORED = frozenset(STORED.values())
#: Whole kinds, where the user could believe that something is shut.
_IDLE = {
    "AuthorizationPolicy": f"{_NOTHING}: requests are NOT restricted by it",
    "RequestAuthentication": f"{_NOTHING}: tokens are NOT checked, and requests are NOT restricted by it",
    "Sidecar": f"{_NOTHING}: calls of these workloads are NOT restricted by it",
}


def in_document(document: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Warnings about an object as it came; nothing for one that cannot be decoded, which others refuse."""
    if kind_of(document) not in KINDS and kind_of(document) not in STORED:
        return ()
    found = decode(document)
    return in_object(found) if isinstance(found, Fact) else ()


def in_object(it: Fact) -> tuple[Problem, ...]:
    """Warnings about an object, in the order of its fields."""
    match it:
        case VirtualService():
            found = _virtual_service(it)
        case DestinationRule():
            found = _destination_rule(it)
        case Gateway():
            found = _gateway(it)
        case Service():
            found = _service(it)
        case EndpointSlice():
            found = _slice(it)
        case _ if type(it) in _STORED:
            found = iter((("", _IDLE.get(type(it).__name__, _NOTHING)),))
        case _:
            return ()
    kind, (namespace, name) = type(it).__name__, it.key
    return tuple(Problem(kind, namespace, name, path, says, Severity.WARNING) for path, says in found)


def _virtual_service(it: VirtualService) -> Findings:
    for at, route in enumerate(it.spec.http):
        yield from _http_route(route, f"spec.http[{at}]")
    for at in range(len(it.spec.tls)):
        yield f"spec.tls[{at}]", f"{_NOTHING}: TLS is passed on to the host that was called"
    for at, rule in enumerate(it.spec.tcp):
        yield from _tcp_route(rule, f"spec.tcp[{at}]")


def _http_route(it: HTTPRoute, path: str) -> Findings:
    for at, match in enumerate(it.match):
        for name in (*match.headers, *match.without_headers):
            if name.startswith("@request.auth."):
                yield f"{path}.match[{at}].headers", f"{name} {_NOTHING}: no token is read"
    if it.retries and it.retries.retry_remote_localities is not None:
        yield f"{path}.retries.retryRemoteLocalities", _NOTHING
    if it.fault and it.fault.abort and it.fault.abort.http2_error:
        yield f"{path}.fault.abort.http2Error", f"{_NOTHING}: use httpStatus or grpcStatus"


def _tcp_route(it: L4Route, path: str) -> Findings:
    for at, match in enumerate(it.match):
        for name, written in (
            ("destinationSubnets", match.destination_subnets),
            ("sourceSubnet", match.source_subnet),
        ):
            if written:
                yield f"{path}.match[{at}].{name}", f"{_NOTHING}: the rule applies to every address"


def _destination_rule(it: DestinationRule) -> Findings:
    if it.spec.workload_selector is not None:
        yield (
            "spec.workloadSelector",
            f"{_NOTHING}: rules for some workloads of a namespace are left out as a whole",
        )
    yield from _policy(it.spec.traffic_policy, "spec.trafficPolicy")
    for at, subset in enumerate(it.spec.subsets):
        yield from _policy(subset.traffic_policy, f"spec.subsets[{at}].trafficPolicy")


def _policy(it: TrafficPolicy | None, path: str) -> Findings:
    if it is None:
        return
    yield from _level(it, path)
    for name, written in (
        ("tunnel", it.tunnel),
        ("proxyProtocol", it.proxy_protocol),
        ("retryBudget", it.retry_budget),
    ):
        if written is not None:
            yield f"{path}.{name}", _NOTHING
    for at, port in enumerate(it.port_level_settings):
        yield from _level(port, f"{path}.portLevelSettings[{at}]")


def _level(it: TrafficPolicy | PortTrafficPolicy, path: str) -> Findings:
    balancing = it.load_balancer
    if balancing and balancing.locality_lb_setting:
        yield f"{path}.loadBalancer.localityLbSetting", f"{_NOTHING}: all localities count alike"
    if balancing and balancing.zone_aware_lb_setting:
        yield f"{path}.loadBalancer.zoneAwareLbSetting", f"{_NOTHING}: all localities count alike"
    if it.tls and it.tls.credential_name:
        yield f"{path}.tls.credentialName", f"{_NOTHING}: name files, such as caCertificates"
    if it.tls and it.tls.ca_crl:
        yield f"{path}.tls.caCrl", _NOTHING


def _service(it: Service) -> Findings:
    if len(it.spec.ports) > MOST_PORTS:
        yield (
            f"spec.ports[{MOST_PORTS}]",
            f"the mesh takes {MOST_PORTS} ports of a Service: from this one on they are left out",
        )
    for at, port in enumerate(it.spec.ports[:MOST_PORTS]):
        if leads_home(it, port.port):
            yield (
                f"spec.ports[{at}].port",
                f"{it.spec.external_name}:{port.port} may be the proxy itself: it is not called for others",
            )
        spoken = protocol(port.name, port.app_protocol, port.protocol, port.port)
        if spoken.is_http and port.port in RESERVED:
            yield (
                f"spec.ports[{at}].port",
                f"every proxy of the mesh listens on {port.port} itself: calls find no routes and no mutual TLS there",
            )
    virtual = [one for one in (it.spec.cluster_ips or [it.spec.cluster_ip]) if one not in ("", "None")]
    # Beside an address of IPv4 nothing is missing, and a slice of IPv6 is one of two that say the same.
    if (virtual and all(":" in one for one in virtual)) or it.spec.ip_families == ["IPv6"]:
        yield (
            "spec.clusterIPs",
            "the mesh calls services by IPv4 only: this one has no endpoints there in this release",
        )


def _slice(it: EndpointSlice) -> Findings:
    """The first of each, which stands for the others."""
    if it.address_type != "IPv4":
        return
    for at, port in enumerate(it.ports):
        if port.port is not None and not is_number(port.port):
            yield f"ports[{at}].port", f"{port.port} is no port: it is left out"
            break
    for at, one in enumerate(it.endpoints):
        if one.addresses and not addresses.is_callable(one.addresses[0]):
            said = f'"{one.addresses[0][:100]}" is no address at which a pod can be called: it is left out'
            yield f"endpoints[{at}].addresses[0]", said
            break


def _gateway(it: Gateway) -> Findings:
    for at, server in enumerate(it.spec.servers):
        path = f"spec.servers[{at}]"
        if server.port.protocol.upper() not in HTTP:
            yield f"{path}.port.protocol", f"{server.port.protocol} {_NOTHING}: this server is not opened"
        if server.bind:
            yield f"{path}.bind", f"{_NOTHING}: the server listens on all addresses"
        if server.default_endpoint:
            yield f"{path}.defaultEndpoint", f"{_NOTHING}: say in a VirtualService where requests go"
        if server.port.target_port:
            yield f"{path}.port.targetPort", f"{_NOTHING}: the gateway's Service says where its ports arrive"
