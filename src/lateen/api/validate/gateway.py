"""Is this Gateway one that the mesh can honour?"""

from __future__ import annotations

from lateen.api.gateway import Gateway, GatewayPort, Server, ServerTLSMode
from lateen.api.validate import shared, texts, tls
from lateen.api.validate.finding import Finding, Findings, check, warning


def gateway(it: Gateway) -> Findings:
    """``spec`` of a Gateway."""
    yield from check("metadata.name", texts.dns_label(it.metadata.name))
    if not it.spec.servers:
        yield Finding("spec.servers", "is required: a gateway without servers opens nothing")
    names: set[str] = set()
    for index, server in enumerate(it.spec.servers):
        at = f"spec.servers[{index}]"
        yield from _server(server, at)
        if server.port.name and server.port.name in names:
            yield Finding(
                f"{at}.port.name", f'"{server.port.name}" is there twice: names of ports must be unique'
            )
        names.add(server.port.name)


def _server(it: Server, at: str) -> Findings:
    if not it.hosts:
        yield Finding(f"{at}.hosts", 'is required: name the hosts, or "*" for all')
    for index, host in enumerate(it.hosts):
        yield from _host(host, f"{at}.hosts[{index}]")
    yield from _port(it.port, it.bind, f"{at}.port")
    yield from _bind(it, at)
    yield from tls.server(it.tls, f"{at}.tls")
    if it.port.protocol.lower() in texts.PROTOCOLS:
        yield from _agreement(it, at)


def _host(host: str, at: str) -> Findings:
    namespace, slash, name = host.partition("/")
    if not slash:
        yield from check(at, shared.host_part(host, addresses=True))
        return
    if namespace not in ("*", "."):
        yield from check(at, texts.dns_label(namespace))
    yield from check(at, shared.host_part(name, addresses=True))


def _port(it: GatewayPort, bind: str, at: str) -> Findings:
    if not it.name:
        yield Finding(f"{at}.name", "is required")
    yield from check(f"{at}.protocol", texts.protocol(it.protocol))
    if it.number or not bind.startswith(shared.UNIX):
        yield from check(f"{at}.number", texts.port(it.number))
    if it.target_port:
        yield Finding(f"{at}.targetPort", "has no effect on a gateway: set it in the gateway's Service")


def _bind(it: Server, at: str) -> Findings:
    if it.bind.startswith(shared.UNIX):
        yield from check(f"{at}.bind", texts.unix_socket(it.bind.removeprefix(shared.UNIX)))
        if it.port.number:
            yield Finding(f"{at}.port.number", "must be 0 for a Unix socket")
    elif it.bind:
        yield from check(f"{at}.bind", texts.address(it.bind))


def _agreement(it: Server, at: str) -> Findings:
    """A port that speaks TLS has settings for it, and no other does."""
    spoken = texts.PROTOCOLS[it.port.protocol.lower()]
    if it.tls is None:
        if spoken.is_tls:
            yield Finding(f"{at}.tls", f"is required for protocol {it.port.protocol}")
        return
    if it.tls.https_redirect and not spoken.is_http:
        yield warning(f"{at}.tls.httpsRedirect", "has an effect on HTTP servers only")
    if spoken.is_tls:
        return
    files = it.tls.ca_certificates or it.tls.private_key or it.tls.server_certificate
    redirects = spoken.is_http and it.tls.mode in (None, ServerTLSMode.PASSTHROUGH) and not files
    if not redirects:
        advice = "only httpsRedirect may be set" if spoken.is_http else "leave it out"
        yield Finding(
            f"{at}.tls", f"protocol {it.port.protocol} is not encrypted: use HTTPS or TLS, or {advice}"
        )
