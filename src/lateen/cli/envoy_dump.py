"""What does an Envoy config dump say of clusters, endpoints and bootstrap? Pure reading, as istioctl shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Config = Mapping[str, Any]
Row = tuple[str, ...]

CLUSTER_COLUMNS = ("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE")
ENDPOINT_COLUMNS = ("NAME", "STATUS", "LOCALITY", "CLUSTER")
HOST_COLUMNS = ("ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER")


def section(config: Config, kind: str) -> Mapping[str, Any]:
    """One part of the dump, such as ``ListenersConfigDump``; empty when it is not there."""
    return next((it for it in config.get("configs", ()) if it.get("@type", "").endswith(f".{kind}")), {})


def bootstrap(config: Config) -> Mapping[str, Any]:
    """The bootstrap."""
    found: Mapping[str, Any] = section(config, "BootstrapConfigDump").get("bootstrap", {})
    return found


def config_reference(message: Mapping[str, Any]) -> str:
    """``name.namespace`` of the object that shaped a message, from ``metadata.istio.config``."""
    path = message.get("metadata", {}).get("filter_metadata", {}).get("istio", {}).get("config", "")
    parts = str(path).strip("/").split("/")  # apis/networking.istio.io/v1/namespaces/NS/KIND/NAME
    return f"{parts[-1]}.{parts[-3]}" if len(parts) >= 4 else ""


# --- clusters ------------------------------------------------------------------------------


def clusters(config: Config) -> list[Mapping[str, Any]]:
    """All clusters, by hostname, subset, port and direction."""
    dump = section(config, "ClustersConfigDump")
    found = [
        it["cluster"]
        for part in ("dynamic_active_clusters", "static_clusters")
        for it in dump.get(part, ())
        if "cluster" in it
    ]
    return sorted(found, key=_order)


def _order(cluster: Mapping[str, Any]) -> tuple[str, str, int, str]:
    way, port, subset, host = _named(str(cluster.get("name", "")))
    return (host, subset, int(port) if port.isdigit() else 0, way)


def _named(name: str) -> tuple[str, str, str, str]:
    """(direction, port, subset, hostname) of ``outbound|80|v1|host``; other names are hostnames of themselves."""
    parts = name.split("|")
    return (parts[0], parts[1], parts[2], parts[3]) if len(parts) == 4 else ("", "", "", name)


def cluster_matches(cluster: Mapping[str, Any], *, fqdn: str, port: int, subset: str, direction: str) -> bool:
    """Whether a cluster passes the filters; empty ones pass all, and part of a hostname is enough, as for istioctl."""
    way, number, part, host = _named(str(cluster.get("name", "")))
    return (
        fqdn in host and (not port or number == str(port)) and (not subset or part == subset)
        and (not direction or way == direction)
    )  # fmt: skip


def cluster_row(cluster: Mapping[str, Any]) -> Row:
    """``reviews.default.svc.cluster.local 9080 v1 outbound EDS reviews.default``."""
    way, port, subset, host = _named(str(cluster.get("name", "")))
    kind = cluster.get("type") or cluster.get("cluster_type", {}).get("name", "STATIC")
    return (host, port or "-", subset or "-", way or "-", str(kind), config_reference(cluster))


# --- endpoints -----------------------------------------------------------------------------


def endpoints(config: Config) -> Iterator[tuple[Row, Mapping[str, Any]]]:
    """A row for each configured endpoint of each cluster, with its message, by cluster."""
    dump = section(config, "EndpointsConfigDump")
    found = [
        it["endpoint_config"]
        for part in ("static_endpoint_configs", "dynamic_endpoint_configs")
        for it in dump.get(part, ())
        if "endpoint_config" in it
    ]
    for assignment in sorted(found, key=lambda it: _order({"name": it.get("cluster_name", "")})):
        for group in assignment.get("endpoints", ()):
            place = group.get("locality", {})
            where = "/".join(filter(None, (place.get("region"), place.get("zone"), place.get("sub_zone"))))
            for it in group.get("lb_endpoints", ()):
                name = address(it.get("endpoint", {}).get("address", {}))
                status = str(it.get("health_status", "HEALTHY"))
                yield (name, status, where, str(assignment.get("cluster_name", ""))), it


def hosts(statuses: Config) -> Iterator[tuple[Row, Mapping[str, Any]]]:
    """A row for each host that Envoy really has (``/clusters?format=json``), with its message, by address."""
    found = [
        ((address(host.get("address", {})), *_health(host), str(cluster.get("name", ""))), host)
        for cluster in statuses.get("cluster_statuses", ())
        for host in cluster.get("host_statuses", ())
    ]
    yield from sorted(found, key=lambda it: it[0])


def _health(host: Mapping[str, Any]) -> tuple[str, str]:
    health = host.get("health_status", {})
    ejected = health.get("failed_outlier_check")
    return str(health.get("eds_health_status", "UNKNOWN")), "FAILED" if ejected else "OK"


def endpoint_passes(cluster: str, wanted: str, port: int, status: str) -> Callable[[Row], bool]:
    """A filter of endpoint rows: by cluster, address, port and status."""

    def passes(row: Row) -> bool:
        host, _, number = row[0].rpartition(":")
        return (
            (not cluster or row[-1].lower() == cluster.lower()) and (not wanted or wanted in (host, row[0]))
            and (not port or number == str(port)) and (not status or row[1].lower() == status.lower())
        )  # fmt: skip

    return passes


def address(it: Mapping[str, Any]) -> str:
    """``10.0.0.1:9080``, the path of a socket, or the name of a listener inside Envoy."""
    if "socket_address" in it:
        socket = it["socket_address"]
        return f"{socket.get('address', '')}:{socket.get('port_value', 0)}"
    if "pipe" in it:
        return str(it["pipe"].get("path", ""))
    inside = it.get("envoy_internal_address", {})
    return (
        f"envoy://{inside.get('server_listener_name', '')}/{inside.get('endpoint_id', '')}"
        if inside
        else "unknown"
    )


# --- secrets -------------------------------------------------------------------------------


def secrets(config: Config) -> list[Mapping[str, Any]]:
    """All secrets with their state: ``{"name", "state", "last_updated", "secret"}``."""
    dump = section(config, "SecretsConfigDump")
    parts = (
        ("static_secrets", "ACTIVE"),
        ("dynamic_active_secrets", "ACTIVE"),
        ("dynamic_warming_secrets", "WARMING"),
    )
    return [{**it, "state": state} for part, state in parts for it in dump.get(part, ())]
