"""With what does an Envoy start? Its bootstrap, as plain JSON values and without protobuf, for the agent is small."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lateen.envoy import limits, wellknown
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
    overload: limits.Overload = limits.SIDECAR,
) -> Json:
    """The whole bootstrap, ready for ``json.dumps``."""
    return {
        "application_log_config": {"log_format": {"text_format": "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"}},
        "node": _node(node),
        "admin": _admin(),
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
        "overload_manager": limits.against_overload(overload),
        "layered_runtime": {"layers": [{"name": "static", "static_layer": _RUNTIME}, {"name": "admin", "admin_layer": {}}]},
    }  # fmt: skip


def _node(node: Node) -> Json:
    shown: Json = {"id": node.id, "cluster": node.cluster, "metadata": dict(node.metadata)}
    if any(node.locality):
        region, zone, subzone = node.locality
        shown["locality"] = {"region": region, "zone": zone, "sub_zone": subzone}
    return shown


#: What people, hooks and tools ask of the admin interface. Left out is what profiles, dumps the heap, taps requests or
#: changes the runtime: nobody needs it to see what a proxy has, and it costs the application its proxy.
_ADMIN_PAGES = (
    "", "certs", "clusters", "config_dump", "contention", "drain_listeners", "healthcheck/fail", "healthcheck/ok", "help",
    "hot_restart_version", "init_dump", "listeners", "logging", "memory", "quitquitquit", "ready", "reopen_logs",
    "reset_counters", "runtime", "server_info", "stats", "stats/prometheus", "stats/recentlookups",
)  # fmt: skip


def _admin() -> Json:
    """From within the pod only, and never counted as a caller: who fills a gateway must not blind those who look at it."""
    pages = "|".join(re.escape(it) for it in _ADMIN_PAGES)
    return {
        "profile_path": "/dev/null",
        "address": _address("127.0.0.1", wellknown.ADMIN_PORT),
        "ignore_global_conn_limit": True,
        "allow_paths": [{"safe_regex": {"regex": rf"/({pages})(\?.*)?"}}],
    }


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
    return _listener(wellknown.STATS_PORT, "stats", "/stats/prometheus", ("GET",), "prometheus_stats", [])


def _ready_listener() -> Json:
    """Envoy remembers the answer a moment: however many ask, the agent is not kept from its work."""
    check = {
        "@type": _TYPES + "extensions.filters.http.health_check.v3.HealthCheck",
        "pass_through_mode": True,
        "cache_time": "0.25s",
        "headers": [{"name": ":path", "string_match": {"exact": "/healthz/ready"}}],
    }
    filters = [{"name": "envoy.filters.http.health_check", "typed_config": check}]
    return _listener(wellknown.READY_PORT, "agent", "/healthz/ready", ("GET", "HEAD"), "agent", filters)


def _listener(
    port: int, prefix: str, path: str, methods: Sequence[str], cluster: str, filters: Sequence[Json]
) -> Json:
    """One page for everybody. Behind it lies a port with more, so that nothing but this path gets through.

    Paths are made plain before they are compared, for whoever is behind does so as well.
    """
    methods_match = {"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(methods)}}}
    routes = [
        {"match": {"path": path, "headers": [methods_match]}, "route": {"cluster": cluster, "timeout": "60s"}}
    ]
    router = {"@type": _TYPES + "extensions.filters.http.router.v3.Router"}
    connection_manager = {
        "@type": _TYPES + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "codec_type": "AUTO", "stat_prefix": prefix,
        "route_config": {"virtual_hosts": [{"name": "backend", "domains": ["*"], "routes": routes}]},
        "http_filters": [*filters, {"name": "envoy.filters.http.router", "typed_config": router}],
        "normalize_path": True, "merge_slashes": True, "path_with_escaped_slashes_action": "REJECT_REQUEST",
        # Nobody who asks here is one of us: what Envoys tell each other in headers is removed.
        "use_remote_address": True, "internal_address_config": {},
        **_PATIENCE,
    }  # fmt: skip
    chain = {
        "filters": [{"name": wellknown.HTTP_CONNECTION_MANAGER, "typed_config": connection_manager}],
        "transport_socket_connect_timeout": "5s",
    }
    return {
        "name": prefix, "address": _address("0.0.0.0", port), "filter_chains": [chain],
        "per_connection_buffer_limit_bytes": limits.PAGE_BUFFER_BYTES, "ignore_global_conn_limit": True,
    }  # fmt: skip


#: For pages that a machine asks for: it asks at once, and takes the answer.
_PATIENCE: Json = {
    "request_headers_timeout": "2s", "request_timeout": "5s", "stream_idle_timeout": "10s",
    "max_request_headers_kb": 16,
    "common_http_protocol_options": {
        "idle_timeout": "15s", "max_headers_count": 50, "max_stream_duration": "60s", "max_requests_per_connection": 1000,
    },
    "http2_protocol_options": {
        "max_concurrent_streams": 16, "initial_stream_window_size": limits.EDGE_STREAM_BYTES,
        "initial_connection_window_size": limits.EDGE_CONNECTION_BYTES,
    },
}  # fmt: skip
