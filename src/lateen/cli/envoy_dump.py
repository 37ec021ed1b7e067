"""What does an Envoy config dump say? Pure reading of ``/config_dump`` into istioctl's rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Config = Mapping[str, Any]

CLUSTER_COLUMNS = ("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE")
LISTENER_COLUMNS = ("ADDRESSES", "PORT", "MATCH", "DESTINATION")
ROUTE_COLUMNS = ("NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE")
ENDPOINT_COLUMNS = ("NAME", "STATUS", "LOCALITY", "CLUSTER")


def _section(config: Config, kind: str) -> Mapping[str, Any]:
    return next((it for it in config.get("configs", ()) if it.get("@type", "").endswith(f".{kind}")), {})


def bootstrap(config: Config) -> Mapping[str, Any]:
    """The bootstrap section."""
    found: Mapping[str, Any] = _section(config, "BootstrapConfigDump").get("bootstrap", {})
    return found


def clusters(config: Config) -> list[Mapping[str, Any]]:
    """All clusters, sorted by name."""
    dump = _section(config, "ClustersConfigDump")
    found = [
        it["cluster"] for part in ("static_clusters", "dynamic_active_clusters") for it in dump.get(part, ())
    ]
    return sorted(found, key=lambda it: str(it.get("name", "")))


def _named(cluster: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """(direction, port, subset, hostname) of ``outbound|80|v1|host``; other names are hostnames of themselves."""
    parts = str(cluster.get("name", "")).split("|")
    return (parts[0], parts[1], parts[2], parts[3]) if len(parts) == 4 else ("", "", "", parts[0])


def cluster_matches(cluster: Mapping[str, Any], *, fqdn: str, port: int, subset: str, direction: str) -> bool:
    """Whether a cluster passes the filters; empty ones pass all."""
    way, number, part, host = _named(cluster)
    return (
        (not fqdn or host == fqdn) and (not port or number == str(port))
        and (not subset or part == subset) and (not direction or way == direction)
    )  # fmt: skip


def cluster_row(cluster: Mapping[str, Any]) -> tuple[str, ...]:
    """``reviews.default.svc.cluster.local 9080 v1 outbound EDS reviews.default``."""
    way, port, subset, host = _named(cluster)
    kind = cluster.get("type") or cluster.get("cluster_type", {}).get("name", "STATIC")
    return (host, port or "-", subset or "-", way or "-", str(kind), config_reference(cluster))


def config_reference(message: Mapping[str, Any]) -> str:
    """``name.namespace`` of the object that shaped a message, from ``metadata.istio.config``."""
    path = message.get("metadata", {}).get("filter_metadata", {}).get("istio", {}).get("config", "")
    parts = str(path).strip("/").split("/")  # apis/networking.istio.io/v1/namespaces/NS/KIND/NAME
    return f"{parts[-1]}.{parts[-3]}" if len(parts) >= 4 else ""


def listeners(config: Config) -> list[Mapping[str, Any]]:
    """All active listeners, by port."""
    dump = _section(config, "ListenersConfigDump")
    found = [it["listener"] for it in dump.get("static_listeners", ())]
    found += [
        it["active_state"]["listener"] for it in dump.get("dynamic_listeners", ()) if "active_state" in it
    ]
    return sorted(found, key=lambda it: (port_of(it), address_of(it)))


def address_of(listener: Mapping[str, Any]) -> str:
    """The address it is bound to, or stands for."""
    return str(listener.get("address", {}).get("socket_address", {}).get("address", ""))


def port_of(listener: Mapping[str, Any]) -> int:
    """Its port."""
    return int(listener.get("address", {}).get("socket_address", {}).get("port_value", 0))


def listener_rows(listener: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """A line for each filter chain: what it matches and where it leads."""
    chains = [*listener.get("filter_chains", ())]
    if "default_filter_chain" in listener:
        chains.append(listener["default_filter_chain"])
    for chain in chains:
        yield (address_of(listener), str(port_of(listener)), _match(chain), _destination(chain))


def _match(chain: Mapping[str, Any]) -> str:
    match = chain.get("filter_chain_match", {})
    parts = []
    if names := match.get("server_names"):
        parts.append(f"SNI: {','.join(names)}")
    if transport := match.get("transport_protocol"):
        parts.append(f"Trans: {transport}")
    if protocols := match.get("application_protocols"):
        shown = ["HTTP TLS" if it.startswith("istio-http") else it for it in protocols]
        parts.append(f"App: {','.join(dict.fromkeys(shown))}")
    ranges = [f"{it['address_prefix']}/{it.get('prefix_len', 32)}" for it in match.get("prefix_ranges", ())]
    port = match.get("destination_port")
    if ranges or port:
        parts.append(f"Addr: {','.join(ranges) or '*'}{f':{port}' if port else ''}")
    return "; ".join(parts) or "ALL"


def _destination(chain: Mapping[str, Any]) -> str:
    for it in chain.get("filters", ()):
        typed = it.get("typed_config", {})
        if "stat_prefix" not in typed:
            continue
        if "rds" in typed:
            return f"Route: {typed['rds']['route_config_name']}"
        if "route_config" in typed:
            found = {
                route.get("route", {}).get("cluster", "")
                for host in typed["route_config"].get("virtual_hosts", ()) for route in host.get("routes", ())
            }  # fmt: skip
            if len(found) == 1 and (only := found.pop()):
                return f"Cluster: {only}"
            return f"Inline Route: {typed['route_config'].get('name', '')}"
        if "cluster" in typed:
            return f"Cluster: {typed['cluster']}"
        if "weighted_clusters" in typed:
            return "Cluster: " + ", ".join(part["name"] for part in typed["weighted_clusters"]["clusters"])
    return "Non-HTTP/Non-TCP"


def routes(config: Config) -> list[Mapping[str, Any]]:
    """All route configurations, by name."""
    dump = _section(config, "RoutesConfigDump")
    found = [
        it["route_config"]
        for part in ("static_route_configs", "dynamic_route_configs")
        for it in dump.get(part, ())
    ]
    return sorted(found, key=lambda it: str(it.get("name", "")))


def route_rows(route_config: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """A line for each route of each virtual host."""
    for host in route_config.get("virtual_hosts", ()):
        domains = _domains(host.get("domains", ()))
        for it in host.get("routes", ()):
            name = str(route_config.get("name", ""))
            yield (
                name,
                str(host.get("name", "")),
                domains,
                _route_match(it.get("match", {})),
                config_reference(it),
            )


def _domains(domains: Sequence[str]) -> str:
    bare = [it for it in domains if ":" not in it] or list(domains)
    return (
        bare[0]
        + (f", {bare[1]}" if len(bare) > 1 else "")
        + (f" + {len(bare) - 2} more..." if len(bare) > 2 else "")
        if bare
        else ""
    )


def _route_match(match: Mapping[str, Any]) -> str:
    for key, shown in (("prefix", "{}*"), ("path_separated_prefix", "{}*"), ("path", "{}")):
        if key in match:
            return shown.format(match[key])
    if "safe_regex" in match:
        return f"regex {match['safe_regex'].get('regex', '')}"
    return "*"


def endpoint_rows(config: Config) -> list[tuple[str, ...]]:
    """A line for each endpoint of each cluster."""
    dump = _section(config, "EndpointsConfigDump")
    assignments: Iterable[Mapping[str, Any]] = [
        it["endpoint_config"]
        for part in ("static_endpoint_configs", "dynamic_endpoint_configs")
        for it in dump.get(part, ())
    ]
    found = []
    for assignment in assignments:
        for group in assignment.get("endpoints", ()):
            where = group.get("locality", {})
            locality = "/".join(filter(None, (where.get("region"), where.get("zone"), where.get("sub_zone"))))
            for it in group.get("lb_endpoints", ()):
                address = it.get("endpoint", {}).get("address", {})
                socket = address.get("socket_address", {})
                name = (
                    f"{socket['address']}:{socket.get('port_value', 0)}"
                    if socket
                    else address.get("pipe", {}).get("path", "")
                )
                found.append(
                    (
                        name,
                        str(it.get("health_status", "HEALTHY")),
                        locality,
                        str(assignment.get("cluster_name", "")),
                    )
                )
    return sorted(found, key=lambda row: (row[3], row[0]))


def secrets(config: Config) -> list[Mapping[str, Any]]:
    """All secrets with their state: ``{"name", "state", "last_updated", "secret"}``."""
    dump = _section(config, "SecretsConfigDump")
    parts = (
        ("static_secrets", "ACTIVE"),
        ("dynamic_active_secrets", "ACTIVE"),
        ("dynamic_warming_secrets", "WARMING"),
    )
    return [{**it, "state": state} for part, state in parts for it in dump.get(part, ())]
