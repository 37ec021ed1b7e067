"""Where can be sent to? Clusters: their kinds, limits, balancing and security."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from lateen.envoy import endpoints, wellknown
from lateen.envoy.sealing import Message, duration, extension, packed, struct

#: Linux' numbers (include/uapi/linux/in.h and tcp.h).
_IPPROTO_TCP, _TCP_SYNCNT = 6, 7
_NO_LIMIT = {"value": 2**32 - 1}
_UNLIMITED = {
    "max_connections": _NO_LIMIT,
    "max_pending_requests": _NO_LIMIT,
    "max_requests": _NO_LIMIT,
    "max_retries": _NO_LIMIT,
    "track_remaining": True,
}
DEFAULT_CONNECT_TIMEOUT_NS = 10 * 10**9

Fields = Mapping[str, Any]


def thresholds(**limits: int) -> Fields:
    """Circuit breakers: Istio's default is no limit."""
    return {"thresholds": [{**_UNLIMITED, **{name: {"value": it} for name, it in limits.items()}}]}


def http_options(
    *,
    http2: bool | None,
    max_requests: int = 0,
    idle_timeout_ns: int | None = None,
    max_streams: int = 0,
    max_duration_ns: int = 0,
    name_called: bool = False,
    check_called: bool = False,
) -> Fields:
    """How HTTP is spoken: version 2, version 1, or (None) whatever the client speaks.

    Where it is encrypted, the server can be told the host that is called, and be expected to prove it.
    """
    h2: dict[str, Any] = {"allow_connect": True}
    if max_streams:
        h2["max_concurrent_streams"] = {"value": max_streams}
    options = http_protocol_options_pb2.HttpProtocolOptions()
    if http2 is None:
        options.use_downstream_protocol_config.SetInParent()
        options.use_downstream_protocol_config.http_protocol_options.SetInParent()
        options.use_downstream_protocol_config.http2_protocol_options.MergeFrom(
            type(options.use_downstream_protocol_config.http2_protocol_options)(**h2)
        )
    elif http2:
        explicit = options.explicit_http_config.http2_protocol_options
        explicit.MergeFrom(type(explicit)(**h2))
    else:
        options.explicit_http_config.http_protocol_options.SetInParent()
    if name_called:
        options.upstream_http_protocol_options.auto_sni = True
        options.upstream_http_protocol_options.auto_san_validation = check_called
    if max_requests:
        options.common_http_protocol_options.max_requests_per_connection.value = max_requests
    if max_duration_ns:
        options.common_http_protocol_options.max_connection_duration.FromNanoseconds(max_duration_ns)
    if idle_timeout_ns is not None:
        options.common_http_protocol_options.idle_timeout.FromNanoseconds(idle_timeout_ns)
    return {wellknown.HTTP_OPTIONS: packed(options)}


def mesh_metadata(
    service: str, host: str, name: str, namespace: str, offers: Mapping[str, str], **more: str
) -> Fields:
    """For metrics (``service`` is packed), for the filter that ``offers`` ALPN, and for Istio's tools: ``config`` and
    ``subset``, where there are such.
    """
    told = {
        "services": [{"host": host, "name": name, "namespace": namespace}],
        **{key: value for key, value in more.items() if value},
    }
    return {
        "filter_metadata": {
            wellknown.MESH_METADATA: struct({"packed": service, **offers}),
            wellknown.ISTIO_METADATA: struct(told),
        }
    }


def if_mesh(secured: Message, plain: Message) -> Sequence[Message]:
    """Mutual TLS to endpoints that have a sidecar, as their metadata says, and ``plain`` to others."""
    return [
        {"name": "tlsMode-istio", "match": struct({"tlsMode": "istio"}), "transport_socket": secured},
        {"name": "tlsMode-disabled", "match": struct({}), "transport_socket": plain},
    ]


def cluster(name: str, **fields: Any) -> Message:
    """A cluster; no limits and ten seconds to connect unless ``fields`` say so."""
    fields.setdefault("connect_timeout", duration(DEFAULT_CONNECT_TIMEOUT_NS))
    fields.setdefault("circuit_breakers", thresholds())
    return cluster_pb2.Cluster(name=name, **fields)


def eds() -> Fields:
    """Fields of a cluster whose endpoints come by ADS."""
    return {
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": duration(0)}
        },
    }


def original_destination(bind: str = "") -> Fields:
    """Fields of a cluster that goes where the client wanted to go; ``bind`` is our own address then."""
    fields: dict[str, Any] = {"type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}
    if bind:
        fields["upstream_bind_config"] = {"source_address": {"address": bind, "port_value": 0}}
    return fields


def dns(name: str, address: str, port: int) -> Fields:
    """Fields of a cluster whose one name Envoy asks of DNS, again and again."""
    kind = dns_cluster_pb2.DnsCluster(respect_dns_ttl=True, dns_lookup_family="V4_ONLY")
    member = endpoints.Member(address, port, "", mesh=False)
    return {
        "cluster_type": extension("envoy.cluster.dns", kind),
        "load_assignment": endpoints.assignment(name, [endpoints.Group(("", "", ""), (member,))]),
    }


def unanswered() -> Fields:
    """Fields of a cluster whose addresses are near: who does not answer at all is given up after about three seconds.

    Linux sends a second SYN after one second and waits two more (TCP_SYNCNT in tcp(7)). The connect timeout is for
    those who answer, and has to leave them time for TLS.
    """
    option = {"level": _IPPROTO_TCP, "name": _TCP_SYNCNT, "int_value": 1, "state": "STATE_PREBIND"}
    return {"upstream_bind_config": {"socket_options": [option]}}


#: Of ``common_lb_config``: those who were left out are tried when nobody else is there any more. Who was left out beside
#: others may be the only one a moment later, as in a rollout.
LAST_RESORT: Fields = {"healthy_panic_threshold": {"value": 1}}


def unreachable(*, requests: bool) -> Fields:
    """Fields of a cluster that leaves out, for a while, an endpoint to which no connection comes about.

    What an application answers leaves nobody out, and at least half of the endpoints stay: so does a single one.
    Of connections three failures in a row suffice. Where there are ``requests``, Envoy counts one that lasts too long as
    if its connection had failed, but also as one that came about when it began: only who had nothing but failures
    within five seconds is gone, and not merely slow.
    """
    off = ["consecutive_5xx", "success_rate", "local_origin_success_rate", "failure_percentage"]
    found: dict[str, Any] = {
        "split_external_local_origin_errors": True,
        "base_ejection_time": duration(10 * 10**9),
        "max_ejection_time": duration(60 * 10**9),
        "max_ejection_percent": {"value": 50},
    }
    if requests:
        off.append("consecutive_local_origin_failure")
        found |= {
            "interval": duration(5 * 10**9),
            "enforcing_failure_percentage_local_origin": {"value": 100},
            "failure_percentage_threshold": {"value": 100},
            "failure_percentage_minimum_hosts": {"value": 2},
            "failure_percentage_request_volume": {"value": 5},
        }
    else:
        found["consecutive_local_origin_failure"] = {"value": 3}
    return {"outlier_detection": {**found, **{f"enforcing_{it}": {"value": 0} for it in off}}}


def black_hole() -> Message:
    """A cluster without endpoints."""
    return cluster(wellknown.BLACK_HOLE, type="STATIC")
