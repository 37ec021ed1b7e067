"""Is this Sidecar one that the mesh can honour?"""

from __future__ import annotations

from collections.abc import Sequence

from lateen.api.gateway import ServerTLSMode, ServerTLSSettings
from lateen.api.sidecar import (
    CaptureMode,
    EgressListener,
    IngressListener,
    OutboundMode,
    OutboundTrafficPolicy,
    Sidecar,
    SidecarPort,
    SidecarSpec,
)
from lateen.api.validate import shared, texts, tls
from lateen.api.validate.destination_rule import connection_pool
from lateen.api.validate.finding import Finding, Findings, check, warning

_LOCAL = ("", "127.0.0.1", "0.0.0.0", "[::1]", "[::]")


def sidecar(it: Sidecar) -> Findings:
    """``spec`` of a Sidecar."""
    spec = it.spec
    yield from shared.label_selector(spec.workload_selector, "spec.workloadSelector")
    if spec == SidecarSpec(workload_selector=spec.workload_selector):
        yield Finding("spec", "is empty: set egress, ingress, outboundTrafficPolicy or inboundConnectionPool")
    numbers: set[int] = set()
    for index, listener in enumerate(spec.ingress):
        at = f"spec.ingress[{index}]"
        yield from _ingress(listener, at)
        if listener.port is not None:
            if listener.port.number in numbers:
                yield Finding(f"{at}.port.number", f"port {listener.port.number} is there twice")
            numbers.add(listener.port.number)
    yield from connection_pool(spec.inbound_connection_pool, "spec.inboundConnectionPool")
    yield from _egress(spec.egress, it.metadata.namespace)
    yield from _outbound(spec.outbound_traffic_policy, "spec.outboundTrafficPolicy")


def _ingress(it: IngressListener, at: str) -> Findings:
    if it.port is None:
        yield Finding(f"{at}.port", "is required")
        return
    yield from _port(it.port, f"{at}.port")
    yield from check(f"{at}.port.number", texts.port(it.port.number))
    if it.bind:
        yield from check(f"{at}.bind", texts.address(it.bind))
    if it.default_endpoint:
        yield from check(f"{at}.defaultEndpoint", _endpoint(it.default_endpoint))
    yield from _tls(it.tls, f"{at}.tls")
    yield from connection_pool(it.connection_pool, f"{at}.connectionPool")
    spoken = texts.PROTOCOLS.get(it.port.protocol.lower())
    if it.connection_pool and it.connection_pool.http and spoken and not spoken.is_http:
        yield warning(f"{at}.connectionPool.http", f"has no effect on a port of protocol {it.port.protocol}")


def _port(it: SidecarPort, at: str) -> Findings:
    if it.name:
        yield from check(f"{at}.name", texts.dns_label(it.name))
    if it.protocol:
        yield from check(f"{at}.protocol", texts.protocol(it.protocol))
    if it.target_port:
        yield Finding(f"{at}.targetPort", "has no effect on a Sidecar: leave it out")


def _endpoint(text: str) -> str:
    if text.startswith(shared.UNIX):
        return texts.unix_socket(text.removeprefix(shared.UNIX))
    host, colon, port = text.rpartition(":")
    if not colon or host not in _LOCAL or texts.port_text(port) or port == "0":
        return f'"{text}" must be of the form 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///PATH'
    return ""


def _tls(it: ServerTLSSettings | None, at: str) -> Findings:
    if it is None:
        return
    unsupported = {
        "subjectAltNames": it.subject_alt_names, "httpsRedirect": it.https_redirect, "credentialName": it.credential_name,
        "credentialNames": it.credential_names, "tlsCertificates": it.tls_certificates,
        "caCertCredentialName": it.ca_cert_credential_name,
    }  # fmt: skip
    for name, value in unsupported.items():
        if value:
            yield Finding(f"{at}.{name}", "is not supported in a Sidecar")
    if it.mode in (ServerTLSMode.ISTIO_MUTUAL, ServerTLSMode.AUTO_PASSTHROUGH):
        yield Finding(f"{at}.mode", f"{it.mode} is not supported in a Sidecar")
    yield from tls.server(it, at)


def _egress(listeners: Sequence[EgressListener], namespace: str) -> Findings:
    numbers: set[int] = set()
    sockets: set[str] = set()
    for index, it in enumerate(listeners):
        at = f"spec.egress[{index}]"
        if it.port is None:
            if index != len(listeners) - 1:
                yield Finding(
                    f"{at}.port", "is required, except in the last listener, which takes all other traffic"
                )
        else:
            yield from _port(it.port, f"{at}.port")
            yield from _bound(it, it.port, at)
            twice = it.port.number in numbers if it.port.number else it.bind in sockets
            if twice:
                yield Finding(at, "another listener has the same port or socket")
            numbers |= {it.port.number} - {0}
            sockets |= set() if it.port.number else {it.bind}
        yield from _hosts(it.hosts, f"{at}.hosts", namespace)


def _bound(it: EgressListener, port: SidecarPort, at: str) -> Findings:
    if port.number:
        yield from check(f"{at}.port.number", texts.port(port.number))
        if it.bind:
            yield from check(f"{at}.bind", texts.address(it.bind))
    elif not it.bind.startswith(shared.UNIX):
        yield Finding(f"{at}.port.number", "0 is for a Unix socket in bind only")
    else:
        yield from check(f"{at}.bind", texts.unix_socket(it.bind.removeprefix(shared.UNIX)))
        if it.capture_mode is CaptureMode.IPTABLES:
            yield Finding(f"{at}.captureMode", "a Unix socket cannot be captured: use DEFAULT or NONE")


def _hosts(hosts: Sequence[str], at: str, own: str) -> Findings:
    if not hosts:
        yield Finding(at, 'is required: name at least one host, such as "./*"')
    seen: set[tuple[str, str]] = set()
    namespaces: set[str] = set()
    for index, host in enumerate(hosts):
        place = f"{at}[{index}]"
        namespace, slash, name = host.partition("/")
        if not slash:
            yield Finding(place, f'"{host}" must be of the form namespace/host, such as ./{host or "*"}')
            continue
        if namespace not in ("*", ".", "~"):
            yield from check(place, texts.dns_label(namespace.removeprefix("~")))  # ~shop/*: all but these
        yield from check(place, shared.host_part(name, addresses=False))
        pair = (own if namespace == "." else namespace, name)
        if {pair, (pair[0], "*"), ("*", "*")} & seen:
            yield warning(place, f'"{host}" is selected already')
        elif name == "*" and (pair[0] in namespaces or (namespace == "*" and seen)):
            yield warning(place, f'"{host}" selects more than what stands before it: leave that out')
        seen.add(pair)
        namespaces.add(pair[0])


def _outbound(it: OutboundTrafficPolicy | None, at: str) -> Findings:
    if it is None or it.egress_proxy is None:
        return
    proxy = f"{at}.egressProxy"
    if it.mode is not OutboundMode.ALLOW_ANY:
        yield Finding(proxy, "needs mode ALLOW_ANY")
    yield from check(f"{proxy}.host", texts.fqdn(it.egress_proxy.host))
    if it.egress_proxy.port is None:
        yield Finding(f"{proxy}.port", "is required")
    else:
        yield from check(f"{proxy}.port.number", texts.port(it.egress_proxy.port.number))
    if it.egress_proxy.subset:
        yield from check(f"{proxy}.subset", texts.dns_label(it.egress_proxy.subset))
