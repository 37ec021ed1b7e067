"""What does an Envoy capture, and where does each match lead? The listeners of a config dump, as istioctl shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lateen.cli.envoy_dump import Config, Row, section

LISTENER_COLUMNS = ("ADDRESSES", "PORT", "MATCH", "DESTINATION")

_HTTP, _TCP = "envoy.filters.network.http_connection_manager", "envoy.filters.network.tcp_proxy"
_BLACK_HOLE = "BlackHoleCluster"
#: Sets of offered protocols that have a name of their own.
_PROTOCOLS = {
    frozenset({"http/1.0", "http/1.1", "h2c", "istio-http/1.0", "istio-http/1.1", "istio-h2"}): "HTTP TLS",
    frozenset({"istio-http/1.0", "istio-http/1.1", "istio-h2"}): "HTTP TLS",
    frozenset({"istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"}): "Istio HTTP Plain",
    frozenset({"istio-peer-exchange", "istio"}): "TCP TLS",
    frozenset({"http/1.0", "http/1.1", "h2c"}): "HTTP",
}

Message = Mapping[str, Any]


def listeners(config: Config) -> list[Message]:
    """All active listeners, by port, address and type."""
    dump = section(config, "ListenersConfigDump")
    found = [it["listener"] for it in dump.get("static_listeners", ()) if "listener" in it]
    states = (it.get("active_state", {}) for it in dump.get("dynamic_listeners", ()))
    found += [it["listener"] for it in states if "listener" in it]
    return sorted(found, key=lambda it: (port_of(it), address_of(it), type_of(it)))


def address_of(listener: Message) -> str:
    """The address it is bound to, or stands for."""
    return str(listener.get("address", {}).get("socket_address", {}).get("address", ""))


def port_of(listener: Message) -> int:
    """Its port."""
    return int(listener.get("address", {}).get("socket_address", {}).get("port_value", 0))


def type_of(listener: Message) -> str:
    """HTTP, TCP, HTTP+TCP or UNKNOWN, by its filters; a black hole is neither."""
    filters = [it for chain in _chains(listener) for it in chain.get("filters", ())]
    http = any(it.get("name") == _HTTP for it in filters)
    tcp = any(it.get("name") == _TCP and it["typed_config"].get("cluster") != _BLACK_HOLE for it in filters)
    return "+".join(name for name, there in (("HTTP", http), ("TCP", tcp)) if there) or "UNKNOWN"


def listener_matches(listener: Message, *, address: str, port: int, kind: str) -> bool:
    """Whether a listener passes the filters; empty ones pass all."""
    return (
        (not address or address_of(listener).lower() == address.lower())
        and (not port or port_of(listener) == port)
        and (not kind or type_of(listener).lower() == kind.lower())
    )


def listener_rows(listener: Message) -> list[Row]:
    """A row for each filter chain: what it matches and where it leads."""
    rows = [
        (address_of(listener), str(port_of(listener)), _match(chain), _destination(chain))
        for chain in _chains(listener)
    ]
    return sorted(rows, key=lambda it: it[3], reverse=True)


def _chains(listener: Message) -> Iterator[Message]:
    yield from listener.get("filter_chains", ())
    if "default_filter_chain" in listener:
        yield listener["default_filter_chain"]


def _match(chain: Message) -> str:
    match = chain.get("filter_chain_match", {})
    parts = []
    if names := match.get("server_names"):
        parts.append(f"SNI: {','.join(names)}")
    if transport := match.get("transport_protocol"):
        parts.append(f"Trans: {transport}")
    if protocols := match.get("application_protocols"):
        parts.append(f"App: {_PROTOCOLS.get(frozenset(protocols)) or ','.join(protocols)}")
    ranges = [f"{it['address_prefix']}/{it.get('prefix_len', 32)}" for it in match.get("prefix_ranges", ())]
    port = match.get("destination_port")
    if ranges or port:
        parts.append(f"Addr: {','.join(ranges) or '*'}{f':{port}' if port else ''}")
    return "; ".join(parts) or "ALL"


def _destination(chain: Message) -> str:
    for it in chain.get("filters", ()):
        typed = it.get("typed_config", {})
        if it.get("name") == _HTTP:
            if "rds" in typed:
                return f"Route: {typed['rds'].get('route_config_name', '')}"
            return _inline(typed.get("route_config", {})) if "route_config" in typed else "HTTP"
        if it.get("name") == _TCP and typed.get("cluster") != _BLACK_HOLE:
            if weighted := typed.get("weighted_clusters"):
                return "Cluster: " + ", ".join(part["name"] for part in weighted.get("clusters", ()))
            return _cluster(str(typed.get("cluster", "")))
    return "Non-HTTP/Non-TCP"


def _cluster(name: str) -> str:
    return name if "Cluster" in name else f"Cluster: {name}"


def _inline(routes: Message) -> str:
    hosts = routes.get("virtual_hosts", [])
    if len(hosts) == 1 and hosts[0].get("domains") == ["*"] and len(hosts[0].get("routes", ())) == 1:
        [only] = hosts[0]["routes"]
        target = only.get("route", {}).get("cluster")
        if target and only.get("match", {}).get("prefix") == "/":
            return _cluster(str(target))
    return f"Inline Route: {'; '.join(map(_host, hosts))}"


def _host(host: Message) -> str:
    domains = "" if host.get("domains") == ["*"] else "/".join(host.get("domains", ())) + " "
    return domains + ", ".join(path_of(it.get("match", {})) for it in host.get("routes", ()))


def path_of(match: Message) -> str:
    """Which paths a route matches, in a word: ``/a*``, ``/a``, ``regex .*``."""
    for key in ("prefix", "path_separated_prefix"):
        if key in match:
            return f"{match[key]}*"
    if "path" in match:
        return str(match["path"])
    if "safe_regex" in match:
        return f"regex {match['safe_regex'].get('regex', '')}"
    return "*"
