"""Are these workloads outside of Kubernetes described well? WorkloadEntry and WorkloadGroup."""

from __future__ import annotations

from collections.abc import Collection

from lateen.api.validate import shared, texts
from lateen.api.validate.finding import Finding, Findings, check, entry, warning
from lateen.api.workloads import ReadinessProbe, WorkloadEntry, WorkloadEntrySpec, WorkloadGroup


def workload_entry(it: WorkloadEntry) -> Findings:
    """``spec`` of a WorkloadEntry."""
    yield from endpoint(it.spec, "spec")


def endpoint(
    it: WorkloadEntrySpec, at: str, *, names: bool = True, ports: Collection[str] | None = None
) -> Findings:
    """An address and its ports; ``ports`` are those of the service it is written into."""
    if not it.address:
        if it.network:
            yield warning(
                f"{at}.address",
                f"is unset: the workload is reached through the gateway of network {it.network}",
            )
        else:
            yield Finding(
                f"{at}.address", "Address is required, unless there is a network whose gateway leads to it"
            )
    elif it.address.startswith(shared.UNIX):
        yield from _socket(it, at, ports)
    elif not texts.is_address(it.address) and (not names or texts.fqdn(it.address)):
        yield Finding(
            f"{at}.address", f'"{it.address}" is not an IP address{" or a host name" if names else ""}'
        )
    for name, number in it.ports.items():
        if ports is not None and name not in ports:
            yield Finding(entry(f"{at}.ports", name), "is not the name of a port of the service")
        yield from check(f"{at}.ports", texts.dns_label(name))
        yield from check(entry(f"{at}.ports", name), texts.port(number))
    yield from check(f"{at}.labels", texts.labels(it.labels))


def _socket(it: WorkloadEntrySpec, at: str, ports: Collection[str] | None) -> Findings:
    yield from check(f"{at}.address", texts.unix_socket(it.address.removeprefix(shared.UNIX)))
    if it.ports:
        yield Finding(f"{at}.ports", "UDS may not include ports: a Unix socket has none")
    if ports is not None and len(ports) != 1:
        yield Finding(f"{at}.address", "a Unix socket needs a service with exactly one port")


def workload_group(it: WorkloadGroup) -> Findings:
    """``spec`` of a WorkloadGroup. Its template gets an address from each workload."""
    yield from check("spec.metadata.labels", texts.labels(it.spec.metadata.labels))
    yield from check("spec.template.labels", texts.labels(it.spec.template.labels))
    for name, number in it.spec.template.ports.items():
        yield from check("spec.template.ports", texts.dns_label(name))
        yield from check(entry("spec.template.ports", name), texts.port(number))
    if it.spec.probe is not None:
        yield from _probe(it.spec.probe, "spec.probe")


def _probe(it: ReadinessProbe, at: str) -> Findings:
    if it.http_get is not None:
        yield from check(f"{at}.httpGet.port", texts.port(it.http_get.port))
        if it.http_get.scheme not in ("", "HTTP", "HTTPS"):
            yield Finding(f"{at}.httpGet.scheme", f'unknown scheme "{it.http_get.scheme}": use HTTP or HTTPS')
        for index, header in enumerate(it.http_get.http_headers):
            yield from check(f"{at}.httpGet.httpHeaders[{index}].name", texts.header_name(header.name))
    elif it.tcp_socket is not None:
        yield from check(f"{at}.tcpSocket.port", texts.port(it.tcp_socket.port))
    elif it.exec is not None:
        if not it.exec.command:
            yield Finding(f"{at}.exec.command", "is required")
    elif it.grpc is not None:
        yield from check(f"{at}.grpc.port", texts.port(it.grpc.port))
    else:
        yield Finding(at, "needs one of httpGet, tcpSocket, exec, grpc")
