"""Is this ServiceEntry one that the mesh can honour?"""

from __future__ import annotations

from lateen.api.service_entry import EntryPort, Resolution, ServiceEntry, ServiceEntrySpec
from lateen.api.validate import shared, texts, workloads
from lateen.api.validate.finding import Finding, Findings, check, warning

_BY_NAME = (Resolution.DNS, Resolution.DNS_ROUND_ROBIN, Resolution.DYNAMIC_DNS)


def service_entry(it: ServiceEntry) -> Findings:
    """``spec`` of a ServiceEntry."""
    spec = it.spec
    yield from shared.label_selector(spec.workload_selector, "spec.workloadSelector")
    if spec.workload_selector is not None and spec.endpoints:
        yield Finding("spec.endpoints", "only one of WorkloadSelector or Endpoints can be set")
    yield from _hosts(spec)
    yield from _addresses(spec)
    yield from _ports(spec)
    yield from _endpoints(spec)
    yield from _tell_apart(spec)
    yield from shared.export_to(spec.export_to, it.metadata.namespace, may_hide=True)


def _hosts(it: ServiceEntrySpec) -> Findings:
    if not it.hosts:
        yield Finding("spec.hosts", "is required: name at least one host")
    dynamic = it.resolution is Resolution.DYNAMIC_DNS
    for index, host in enumerate(it.hosts):
        at = f"spec.hosts[{index}]"
        if host == "*":
            yield Finding(at, "hostname cannot be wildcard: name a domain, such as *.example.com")
            continue
        yield from check(at, texts.wildcard_domain(host))
        if partial := texts.partial_wildcard(host):
            yield warning(at, partial)
        if it.resolution in _BY_NAME and not dynamic and not it.endpoints and texts.fqdn(host):
            yield Finding(at, f"must be a full host name for resolution {it.resolution} without endpoints")
        if dynamic and not host.startswith("*"):
            yield Finding(at, "must begin with a wildcard for resolution DYNAMIC_DNS, such as *.example.com")


def _addresses(it: ServiceEntrySpec) -> Findings:
    for index, address in enumerate(it.addresses):
        at = f"spec.addresses[{index}]"
        yield from check(at, texts.subnet(address))
        if "/" in address and it.resolution not in (Resolution.NONE, Resolution.STATIC):
            yield Finding(at, "CIDR addresses are allowed only for NONE/STATIC resolution types")


def _ports(it: ServiceEntrySpec) -> Findings:
    names: set[str] = set()
    numbers: set[int] = set()
    for index, port in enumerate(it.ports):
        at = f"spec.ports[{index}]"
        yield from _port(port, at)
        if port.name in names:
            yield Finding(f"{at}.name", f'Duplicate value: "{port.name}"')
        if port.number in numbers:
            yield Finding(f"{at}.number", f"port number cannot be duplicated: {port.number}")
        if port.target_port and it.resolution is Resolution.NONE:
            yield warning(f"{at}.targetPort", "has no effect for resolution NONE")
        names.add(port.name)
        numbers.add(port.number)
        if port.protocol.upper() in ("", "TCP") and not it.addresses and it.resolution is Resolution.NONE:
            yield warning(
                at, "a port of TCP without spec.addresses takes calls to every address without a service"
            )


def _port(it: EntryPort, at: str) -> Findings:
    yield from check(f"{at}.name", "is required" if not it.name else texts.dns_label(it.name))
    yield from check(f"{at}.number", texts.port(it.number))
    if it.protocol:
        yield from check(f"{at}.protocol", texts.protocol(it.protocol))
    if it.target_port:
        yield from check(f"{at}.targetPort", texts.port(it.target_port))


def _endpoints(it: ServiceEntrySpec) -> Findings:
    if it.endpoints and it.resolution in (Resolution.NONE, Resolution.DYNAMIC_DNS):
        yield Finding("spec.endpoints", f"{it.resolution} mode cannot set endpoints")
        return
    if it.resolution is Resolution.DNS_ROUND_ROBIN and len(it.endpoints) > 1:
        yield Finding("spec.endpoints", "DNS_ROUND_ROBIN mode cannot have multiple endpoints")
    if it.workload_selector is not None and it.resolution is Resolution.DYNAMIC_DNS:
        yield Finding(
            "spec.workloadSelector", "cannot be set for resolution DYNAMIC_DNS: the caller says the host"
        )
    elif it.workload_selector is not None and it.resolution is not Resolution.STATIC:
        yield warning("spec.workloadSelector", f"has no effect for resolution {it.resolution}: use STATIC")
    ports = frozenset(port.name for port in it.ports)
    for index, endpoint in enumerate(it.endpoints):
        if it.resolution in _BY_NAME and not endpoint.address and endpoint.network:
            yield Finding(f"spec.endpoints[{index}].address", f"is required for resolution {it.resolution}")
        if it.resolution in _BY_NAME and endpoint.address.startswith(shared.UNIX):
            yield Finding(
                f"spec.endpoints[{index}].address",
                f"a Unix socket has no name to resolve: use STATIC, not {it.resolution}",
            )
        yield from workloads.endpoint(
            endpoint, f"spec.endpoints[{index}]", names=it.resolution in _BY_NAME, ports=ports
        )


def _tell_apart(it: ServiceEntrySpec) -> Findings:
    """Hosts on one port are told apart by HTTP's authority or TLS's SNI; plain TCP has neither."""
    if it.resolution is Resolution.NONE or len(it.hosts) < 2:
        return
    for index, port in enumerate(it.ports):
        spoken = texts.PROTOCOLS.get(port.protocol.lower())
        if spoken is None or not (spoken.is_http or spoken.is_tls):
            yield Finding(
                f"spec.ports[{index}].protocol",
                "several hosts need HTTP or TLS: otherwise they cannot be told apart",
            )
