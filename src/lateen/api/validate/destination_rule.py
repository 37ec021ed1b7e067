"""Is this DestinationRule one that the mesh can honour? And the traffic policies that other kinds have too."""

from __future__ import annotations

from collections.abc import Sequence

from lateen.api.destination_rule import (
    ConnectionPoolSettings,
    ConsistentHashLB,
    CookieAttribute,
    DestinationRule,
    Failover,
    H2UpgradePolicy,
    HTTPSettings,
    LoadBalancerSettings,
    LocalityLoadBalancerSetting,
    OutlierDetection,
    PortTrafficPolicy,
    Subset,
    TCPSettings,
    TrafficPolicy,
    TunnelSettings,
    ZoneAwareLoadBalancerSetting,
)
from lateen.api.meta import Duration
from lateen.api.validate import shared, texts, tls
from lateen.api.validate.finding import Finding, Findings, check, warning

_LARGEST_TABLE = 5_000_011  # Envoy's limit of Maglev
#: Envoy's limit.
_LARGEST_RING = 8 * 1024 * 1024
#: The primes up to its root.
_FACTORS = tuple(it for it in range(2, 2237) if all(it % factor for factor in range(2, int(it**0.5) + 1)))
_TOPOLOGY = (
    "topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone",
)  # fmt: skip


def destination_rule(it: DestinationRule) -> Findings:
    """``spec`` of a DestinationRule."""
    spec = it.spec
    yield from check("spec.host", texts.wildcard_domain(spec.host))
    yield from _policy(spec.traffic_policy, "spec.trafficPolicy")
    names: set[str] = set()
    for index, subset in enumerate(spec.subsets):
        at = f"spec.subsets[{index}]"
        if subset.name in names:
            yield Finding(
                f"{at}.name", f'subset "{subset.name}" is there twice: its second definition would be unused'
            )
        names.add(subset.name)
        yield from _subset(subset, at)
    yield from shared.export_to(
        spec.export_to, it.metadata.namespace, own_only=spec.workload_selector is not None
    )
    yield from shared.selector(spec.workload_selector, "spec.workloadSelector")


def _subset(it: Subset, at: str) -> Findings:
    yield from check(f"{at}.name", texts.dns_label(it.name))
    yield from check(f"{at}.labels", texts.labels(it.labels))
    yield from _policy(it.traffic_policy, f"{at}.trafficPolicy")


def _policy(it: TrafficPolicy | None, at: str) -> Findings:
    if it is None:
        return
    if it == TrafficPolicy():
        yield Finding(at, "is empty: set at least one field, or leave it out")
    if it.tunnel and it.proxy_protocol:
        yield Finding(at, "only one of tunnel and proxyProtocol can be set")
    yield from _parts(it, at)
    ports: set[int] = set()
    for index, port in enumerate(it.port_level_settings):
        place = f"{at}.portLevelSettings[{index}]"
        if port.port is None:
            yield Finding(f"{place}.port", "is required: which port is it about?")
        else:
            yield from check(f"{place}.port.number", texts.port(port.port.number))
            if port.port.number in ports:
                yield warning(
                    f"{place}.port.number", f"port {port.port.number} is there twice: the first one holds"
                )
            ports.add(port.port.number)
        if not (port.load_balancer or port.connection_pool or port.outlier_detection or port.tls):
            yield Finding(
                place, "is empty: set at least one of loadBalancer, connectionPool, outlierDetection, tls"
            )
        yield from _parts(port, place)
    yield from _tunnel(it.tunnel, f"{at}.tunnel")


def _parts(it: TrafficPolicy | PortTrafficPolicy, at: str) -> Findings:
    yield from _outlier(it.outlier_detection, f"{at}.outlierDetection")
    yield from connection_pool(it.connection_pool, f"{at}.connectionPool")
    yield from _balancer(it.load_balancer, it.outlier_detection, f"{at}.loadBalancer")
    yield from tls.client(it.tls, f"{at}.tls")


def _tunnel(it: TunnelSettings | None, at: str) -> Findings:
    if it is None:
        return
    if it.protocol not in ("", "CONNECT", "POST"):
        yield Finding(f"{at}.protocol", f'unknown protocol "{it.protocol}": use CONNECT or POST')
    if not texts.is_address(it.target_host):
        yield from check(f"{at}.targetHost", texts.fqdn(it.target_host))
    yield from check(f"{at}.targetPort", texts.port(it.target_port))


def _outlier(it: OutlierDetection | None, at: str) -> Findings:
    if it is None:
        return
    yield from _durations(at, baseEjectionTime=it.base_ejection_time, interval=it.interval)
    if it.consecutive_errors:
        yield warning(
            f"{at}.consecutiveErrors", "is deprecated: use consecutiveGatewayErrors or consecutive5xxErrors"
        )
    if it.consecutive_local_origin_failures and not it.split_external_local_origin_errors:
        yield Finding(
            f"{at}.consecutiveLocalOriginFailures",
            "has no effect unless splitExternalLocalOriginErrors is true",
        )
    for name, value in (
        ("maxEjectionPercent", it.max_ejection_percent),
        ("minHealthPercent", it.min_health_percent),
    ):
        if not 0 <= value <= 100:
            yield Finding(f"{at}.{name}", f"{value} is not a percentage: use 0-100")


def connection_pool(it: ConnectionPoolSettings | None, at: str) -> Findings:
    """Limits of connections and requests."""
    if it is None:
        return
    if it.http is None and it.tcp is None:
        yield Finding(at, "is empty: set tcp or http, or leave it out")
    if it.http is not None:
        yield from _http(it.http, f"{at}.http")
    if it.tcp is not None:
        yield from _tcp(it.tcp, f"{at}.tcp")


def _http(it: HTTPSettings, at: str) -> Findings:
    counts = {
        "http1MaxPendingRequests": it.http1_max_pending_requests, "http2MaxRequests": it.http2_max_requests,
        "maxRequestsPerConnection": it.max_requests_per_connection, "maxRetries": it.max_retries,
        "maxConcurrentStreams": it.max_concurrent_streams,
    }  # fmt: skip
    for name, value in counts.items():
        if value < 0:
            yield Finding(f"{at}.{name}", f"{value} is negative: use 0 for no limit of your own")
    yield from _durations(at, idleTimeout=it.idle_timeout)
    if (ping := it.http2_keep_alive) is not None:
        for name, written in (("interval", ping.interval), ("timeout", ping.timeout)):
            if written is None:
                yield Finding(
                    f"{at}.http2KeepAlive.{name}", "is required: interval and timeout belong together"
                )
        yield from _durations(f"{at}.http2KeepAlive", interval=ping.interval, timeout=ping.timeout)
    if it.h2_upgrade_policy is H2UpgradePolicy.UPGRADE and it.use_client_protocol:
        yield Finding(f"{at}.useClientProtocol", "cannot be true when h2UpgradePolicy is UPGRADE")


def _tcp(it: TCPSettings, at: str) -> Findings:
    if it.max_connections < 0:
        yield Finding(
            f"{at}.maxConnections", f"{it.max_connections} is negative: use 0 for no limit of your own"
        )
    yield from _durations(
        at,
        connectTimeout=it.connect_timeout,
        maxConnectionDuration=it.max_connection_duration,
        idleTimeout=it.idle_timeout if it.idle_timeout and it.idle_timeout.nanoseconds else None,  # 0s: never
    )
    if it.tcp_keepalive is not None:
        yield from _durations(
            f"{at}.tcpKeepalive", time=it.tcp_keepalive.time, interval=it.tcp_keepalive.interval
        )


def _durations(at: str, **found: Duration | None) -> Findings:
    for name, value in found.items():
        if value is not None:
            yield from check(f"{at}.{name}", texts.duration(value))


def _balancer(it: LoadBalancerSettings | None, outlier: OutlierDetection | None, at: str) -> Findings:
    if it is None:
        return
    if it.consistent_hash is not None:
        yield from _hash(it.consistent_hash, f"{at}.consistentHash")
    if it.locality_lb_setting is not None:
        yield from _locality(it.locality_lb_setting, outlier, f"{at}.localityLbSetting")
        if it.zone_aware_lb_setting is not None:
            yield Finding(at, "only one of localityLbSetting and zoneAwareLbSetting can be set")
    if it.zone_aware_lb_setting is not None:
        yield from _zones(it.zone_aware_lb_setting, outlier, f"{at}.zoneAwareLbSetting")
        if it.consistent_hash is not None:
            yield warning(f"{at}.zoneAwareLbSetting", "has no effect with consistentHash")
    yield from _durations(at, warmupDurationSecs=it.warmup_duration_secs)
    if it.warmup is not None:
        yield from check(f"{at}.warmup.duration", texts.duration(it.warmup.duration))
        if it.warmup_duration_secs is not None:
            yield Finding(f"{at}.warmupDurationSecs", "only one of warmup and warmupDurationSecs can be set")


def _hash(it: ConsistentHashLB, at: str) -> Findings:
    if not (it.http_header_name or it.http_cookie or it.use_source_ip or it.http_query_parameter_name):
        yield warning(
            at, "nothing to hash by: set httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName"
        )
    if it.http_header_name:
        yield from check(f"{at}.httpHeaderName", texts.header_name(it.http_header_name))
    if it.http_query_parameter_name:
        yield from check(f"{at}.httpQueryParameterName", texts.parameter_name(it.http_query_parameter_name))
    if it.http_cookie is not None:
        if not it.http_cookie.name:
            yield Finding(f"{at}.httpCookie.name", "is required")
        yield from _attributes(it.http_cookie.attributes, f"{at}.httpCookie.attributes")
        for name, text in (("name", it.http_cookie.name), ("path", it.http_cookie.path)):
            yield from check(f"{at}.httpCookie.{name}", texts.one_line(text))
    rings = (("minimumRingSize", it.minimum_ring_size),
             ("ringHash.minimumRingSize", it.ring_hash.minimum_ring_size if it.ring_hash else 0))  # fmt: skip
    for name, size in rings:
        if (size or 0) > _LARGEST_RING:
            yield Finding(f"{at}.{name}", f"{size} is too large: use at most {_LARGEST_RING}")
    if it.minimum_ring_size:
        yield warning(f"{at}.minimumRingSize", "is deprecated: use ringHash.minimumRingSize")
        if it.ring_hash or it.maglev:
            yield Finding(f"{at}.minimumRingSize", "cannot be set together with ringHash or maglev")
    if it.maglev is not None:
        size = it.maglev.table_size
        if not _prime(size) or size >= _LARGEST_TABLE:
            yield Finding(
                f"{at}.maglev.tableSize",
                f"{size} is not a prime number below {_LARGEST_TABLE}, such as 65537",
            )


def _attributes(found: Sequence[CookieAttribute], at: str) -> Findings:
    names: set[str] = set()
    for index, one in enumerate(found):
        if not one.name:
            yield Finding(f"{at}[{index}].name", "is required")
        elif one.name in names:
            yield Finding(f"{at}[{index}].name", f'"{one.name}" is there twice')
        names.add(one.name)
        for name, text in (("name", one.name), ("value", one.value)):
            yield from check(f"{at}[{index}].{name}", texts.one_line(text))


def _prime(number: int) -> bool:
    """By Envoy's reckoning, for which 1 is one."""
    if number >= _LARGEST_TABLE or number < 1:
        return False
    return all(number % factor or number == factor for factor in _FACTORS)


def _locality(it: LocalityLoadBalancerSetting, outlier: OutlierDetection | None, at: str) -> Findings:
    if it.distribute and it.failover:
        yield Finding(at, "only one of distribute and failover can be set")
    if it.failover and (
        both := [name for name in it.failover_priority if name.partition("=")[0] in _TOPOLOGY]
    ):
        yield Finding(f"{at}.failoverPriority", f"{both[0]} cannot be set together with failover")
    for index, one in enumerate(it.distribute):
        place = f"{at}.distribute[{index}].to"
        if any(not 1 <= weight <= 100 for weight in one.to.values()):
            yield Finding(place, "each weight must be 1-100")
        elif sum(one.to.values()) != 100:
            yield Finding(place, f"the weights add up to {sum(one.to.values())}, not to 100")
        yield from check(place, _overlap(list(one.to)))
    yield from check(f"{at}.distribute", _overlap([one.from_ for one in it.distribute]))
    yield from _failover(it.failover, it.failover_priority, outlier, at)


def _zones(it: ZoneAwareLoadBalancerSetting, outlier: OutlierDetection | None, at: str) -> Findings:
    """Regions, zones and subzones are told apart by themselves."""
    for index, label in enumerate(it.failover_priority):
        if label.partition("=")[0] in _TOPOLOGY:
            yield Finding(
                f"{at}.failoverPriority[{index}]",
                f"{label} is not for zoneAwareLbSetting, which knows it by itself",
            )
    yield from _failover(it.failover, it.failover_priority, outlier, at)


def _failover(
    ways: Sequence[Failover], priority: Sequence[str], outlier: OutlierDetection | None, at: str
) -> Findings:
    if (ways or priority) and outlier is None:
        yield warning(at, "failover needs outlierDetection: without it no endpoint ever counts as unhealthy")
    for index, way in enumerate(ways):
        place = f"{at}.failover[{index}]"
        if way.from_ == way.to:
            yield Finding(place, "from and to must be different regions")
        if "/" in way.from_ + way.to or "*" in way.from_ + way.to:
            yield Finding(place, "from and to are regions: write them without / and *")


def _overlap(localities: Sequence[str]) -> str:
    """``region/zone/subzone``, where ``*`` may be the last; none may contain another."""
    seen: set[tuple[str, ...]] = set()
    begun: set[tuple[str, ...]] = set()
    for it in localities:
        parts = it.split("/", 2)
        if not all(parts):
            return f'"{it}" has an empty part: write region/zone/subzone'
        if "*" in it and (it.count("*") > 1 or not it.endswith("*")):
            return f'"{it}": * may stand only once and at the end'
        mine = tuple(part for part in parts if part != "*")
        beginnings = {mine[:length] for length in range(len(mine) + 1)}
        if mine in begun or beginnings & seen:
            return f'"{it}" overlaps with another one'
        seen.add(mine)
        begun |= beginnings
    return ""
