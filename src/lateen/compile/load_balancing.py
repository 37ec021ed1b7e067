"""How is an endpoint chosen, and which are left out? Balancing, hashing, ejection and keepalive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lateen.api.destination_rule import (
    ConsistentHashLB,
    LoadBalancerSettings,
    OutlierDetection,
    SimpleLB,
    TcpKeepalive,
)
from lateen.envoy import clusters
from lateen.envoy.sealing import duration

Fields = Mapping[str, Any]


def policy(settings: LoadBalancerSettings | None) -> Fields:
    """Least requests is the default, as in Istio; endpoints that were ejected stay so, however many they are."""
    healthy = {"healthy_panic_threshold": {"value": 0}}
    if settings is None:
        return {"lb_policy": "LEAST_REQUEST", "common_lb_config": healthy}
    if settings.consistent_hash:
        return {**_hashing(settings.consistent_hash), "common_lb_config": healthy}
    match settings.simple:
        case SimpleLB.RANDOM:
            name = "RANDOM"
        case SimpleLB.ROUND_ROBIN:
            name = "ROUND_ROBIN"
        case SimpleLB.PASSTHROUGH:
            return {
                **clusters.original_destination(),
                "eds_cluster_config": None,
                "load_assignment": None,
                "cluster_type": None,
            }
        case SimpleLB.UNSPECIFIED | SimpleLB.LEAST_CONN | SimpleLB.LEAST_REQUEST | None:
            name = "LEAST_REQUEST"
    return {"lb_policy": name, "common_lb_config": healthy, **_warmup(name, settings)}


def _warmup(name: str, it: LoadBalancerSettings) -> Fields:
    """New endpoints start slowly. Only these two algorithms of Envoy know how."""
    place = {"ROUND_ROBIN": "round_robin_lb_config", "LEAST_REQUEST": "least_request_lb_config"}.get(name)
    window = it.warmup.duration if it.warmup else it.warmup_duration_secs
    if place is None or window is None:
        return {}
    slow: dict[str, Any] = {"slow_start_window": duration(window.nanoseconds)}
    if it.warmup and it.warmup.aggression is not None:
        slow["aggression"] = {"default_value": it.warmup.aggression, "runtime_key": "mesh.warmup.aggression"}
    if it.warmup and it.warmup.minimum_percent is not None:
        slow["min_weight_percent"] = {"value": it.warmup.minimum_percent}
    return {place: {"slow_start_config": slow}}


def _hashing(it: ConsistentHashLB) -> Fields:
    if it.maglev:
        return {"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": {"value": it.maglev.table_size}}}
    size = it.ring_hash.minimum_ring_size if it.ring_hash else it.minimum_ring_size or 1024
    return {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": {"value": size}}}


def hash_policy(settings: LoadBalancerSettings | None) -> list[Fields]:
    """What of a request is hashed: goes into the route, while the ring is the cluster's."""
    it = settings.consistent_hash if settings else None
    if it is None:
        return []
    if it.http_header_name:
        return [{"header": {"header_name": it.http_header_name}}]
    if it.http_cookie:
        cookie: dict[str, Any] = {"name": it.http_cookie.name, "path": it.http_cookie.path}
        if it.http_cookie.ttl is not None:
            cookie["ttl"] = duration(it.http_cookie.ttl.nanoseconds)
        return [{"cookie": cookie}]
    if it.use_source_ip:
        return [{"connection_properties": {"source_ip": True}}]
    if it.http_query_parameter_name:
        return [{"query_parameter": {"name": it.http_query_parameter_name}}]
    return []


def outliers(it: OutlierDetection, *, by_address: bool) -> Fields:
    """Ejection of endpoints that fail, where the rule asks for it."""
    found: dict[str, Any] = {}
    if it.interval:
        found["interval"] = duration(it.interval.nanoseconds)
    if it.base_ejection_time:
        found["base_ejection_time"] = duration(it.base_ejection_time.nanoseconds)
    if it.max_ejection_percent:
        found["max_ejection_percent"] = {"value": it.max_ejection_percent}
    consecutive = it.consecutive_5xx_errors
    if consecutive is None:
        consecutive = it.consecutive_errors or None
    if consecutive is not None:
        found["consecutive_5xx"] = {"value": consecutive}
        found["enforcing_consecutive_5xx"] = {"value": 100 if consecutive else 0}
    if it.consecutive_gateway_errors is not None:
        found["consecutive_gateway_failure"] = {"value": it.consecutive_gateway_errors}
        found["enforcing_consecutive_gateway_failure"] = {
            "value": 100 if it.consecutive_gateway_errors else 0
        }
    # Istio leaves ejection by success rate off.
    found["enforcing_success_rate"] = {"value": 0}
    if it.split_external_local_origin_errors:
        found["split_external_local_origin_errors"] = True
        if it.consecutive_local_origin_failures is not None:
            found["consecutive_local_origin_failure"] = {"value": it.consecutive_local_origin_failures}
    fields: dict[str, Any] = {"outlier_detection": found}
    if it.min_health_percent and not by_address:
        fields["common_lb_config"] = {
            "healthy_panic_threshold": {"value": it.min_health_percent},
        }  # fmt: skip
    return fields


def keepalive(it: TcpKeepalive) -> Fields:
    """SO_KEEPALIVE, in seconds."""
    found: dict[str, Any] = {}
    if it.probes:
        found["keepalive_probes"] = {"value": it.probes}
    if it.time:
        found["keepalive_time"] = {"value": int(it.time.seconds)}
    if it.interval:
        found["keepalive_interval"] = {"value": int(it.interval.seconds)}
    return found
