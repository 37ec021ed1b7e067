"""With what does an Envoy start? Its bootstrap, as plain JSON values and without protobuf, for the agent is small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lateen.envoy import wellknown
from lateen.names.locality import NOWHERE, Locality

_TYPES = "type.googleapis.com/envoy."
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Node:
    """Who the proxy says it is."""

    id: str
    cluster: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    locality: Locality = NOWHERE


@dataclass(frozen=True, slots=True)
class Discovery:
    """Where the control plane is, and whom to expect there."""

    host: str = "istiod.istio-system.svc"
    port: int = 15012
    server_names: Sequence[str] = ("istiod.istio-system.svc",)


#: How the names of the statistics begin that Istio keeps of Envoy's own; the rest costs memory for every cluster.
_STATS = (
    "cluster_manager.", "listener_manager.", "server.", "cluster.xds-grpc.", "istio.", "control_plane.", "filesystem.",
    "runtime.",
)  # fmt: skip
#: Envoy's own limit for regular expressions refuses the simplest; this is Istio's (``lateen.api.validate.expressions``).
_RUNTIME = {"re2.max_program_size.error_level": 32768}


def bootstrap(
    node: Node,
    discovery: Discovery = Discovery(),
    *,
    max_connections: int = 2**31 - 1,
) -> Json:
    """The whole bootstrap, ready for ``json.dumps``."""
    return {
        "application_log_config": {"log_format": {"text_format": "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"}},
        "node": _node(node),
        "admin": {"profile_path": "/dev/null", "address": _address("127.0.0.1", wellknown.ADMIN_PORT)},
        "dynamic_resources": _dynamic(),
        "static_resources": {
            "listeners": [_stats_listener(), _ready_listener()],
            "clusters": [_xds_cluster(discovery), *map(_local_cluster, ("prometheus_stats", "agent"))],
        },
        "stats_config": {
            "use_all_default_tags": True,
            "stats_matcher": {"inclusion_list": {"patterns": [{"prefix": it} for it in _STATS]}},
        },
        "stats_flush_interval": "5s",
        "overload_manager": {"resource_monitors": [_connection_limit(max_connections)]},
        "layered_runtime": {"layers": [{"name": "static", "static_layer": _RUNTIME}, {"name": "admin", "admin_layer": {}}]},
    }  # fmt: skip


def _node(node: Node) -> Json:
    shown: Json = {"id": node.id, "cluster": node.cluster, "metadata": dict(node.metadata)}
    if any(node.locality):
        region, zone, subzone = node.locality
        shown["locality"] = {"region": region, "zone": zone, "sub_zone": subzone}
    return shown


def _connection_limit(connections: int) -> Json:
    """Envoy complains at every start when there is none."""
    limit = {
        "@type": _TYPES + "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": connections,
    }  # fmt: skip
    return {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": limit}


#: Envoy's own limit is half a minute, during which a proxy would not hear of anything after a restart of the control plane.
_RECONNECT = {"retry_back_off": {"base_interval": "0.5s", "max_interval": "5s"}}


def _dynamic() -> Json:
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "lds_config": source,
        "cds_config": source,
        "ads_config": {
            "api_type": "DELTA_GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": {"cluster_name": wellknown.XDS_CLUSTER, "retry_policy": _RECONNECT}}],
        },
    }  # fmt: skip


def _address(address: str, port: int) -> Json:
    return {"socket_address": {"address": address, "port_value": port}}


def _secret(name: str) -> Json:
    source = {"path": wellknown.secret_path(name), "watched_directory": {"path": wellknown.SDS_FOLDER}}
    return {"name": name, "sds_config": {"path_config_source": source, "resource_api_version": "V3"}}


def _xds_cluster(discovery: Discovery) -> Json:
    names = [{"san_type": "DNS", "matcher": {"exact": it}} for it in discovery.server_names]
    tls = {
        "@type": _TYPES + "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": discovery.server_names[0],
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_2",
                "tls_maximum_protocol_version": "TLSv1_3",
            },
            "tls_certificate_sds_secret_configs": [_secret(wellknown.WORKLOAD_SECRET)],
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": names},
                "validation_context_sds_secret_config": _secret(wellknown.ROOT_SECRET),
            },
        },
    }
    http2 = {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
    return {
        "name": wellknown.XDS_CLUSTER, "type": "STRICT_DNS",
        "dns_lookup_family": "V4_ONLY", "connect_timeout": "1s", "lb_policy": "RANDOM",
        "load_assignment": _assignment(wellknown.XDS_CLUSTER, discovery.host, discovery.port),
        "transport_socket": {"name": wellknown.TLS_SOCKET, "typed_config": tls},
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 300}},
        "typed_extension_protocol_options": {wellknown.HTTP_OPTIONS: {
            "@type": _TYPES + "extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": http2},
        }},
    }  # fmt: skip


def _assignment(name: str, host: str, port: int) -> Json:
    endpoint = {"endpoint": {"address": _address(host, port)}}
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}


def _local_cluster(name: str) -> Json:
    port = wellknown.ADMIN_PORT if name == "prometheus_stats" else wellknown.AGENT_PORT
    return {
        "name": name, "type": "STATIC", "connect_timeout": "0.25s",
        "load_assignment": _assignment(name, "127.0.0.1", port),
    }  # fmt: skip


def _stats_listener() -> Json:
    return _listener(wellknown.STATS_PORT, "stats", "/stats/prometheus", "prometheus_stats")


def _ready_listener() -> Json:
    return _listener(wellknown.READY_PORT, "agent", "/healthz/ready", "agent")


def _listener(port: int, prefix: str, path: str, cluster: str) -> Json:
    routes = [{"match": {"prefix": path}, "route": {"cluster": cluster}}]
    router = {"@type": _TYPES + "extensions.filters.http.router.v3.Router"}
    connection_manager = {
        "@type": _TYPES + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "codec_type": "AUTO", "stat_prefix": prefix,
        "route_config": {"virtual_hosts": [{"name": "backend", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }  # fmt: skip
    chain = {"filters": [{"name": wellknown.HTTP_CONNECTION_MANAGER, "typed_config": connection_manager}]}
    return {"name": prefix, "address": _address("0.0.0.0", port), "filter_chains": [chain]}
