"""What do users write about destinations? DestinationRule and traffic policies (networking.istio.io)."""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta, field

from lateen.api.meta import Duration, Fact, Int32, Text, Uint32, Uint64, Value, WorkloadSelector
from lateen.api.networking import PortSelector


class SimpleLB(enum.StrEnum):
    """``loadBalancer.simple``. ROUND_ROBIN and LEAST_CONN are old names which Istio still reads."""

    UNSPECIFIED = "UNSPECIFIED"
    LEAST_CONN = "LEAST_CONN"
    RANDOM = "RANDOM"
    PASSTHROUGH = "PASSTHROUGH"
    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_REQUEST = "LEAST_REQUEST"


class CookieAttribute(Value, frozen=True):
    """Something more that is written into a cookie, such as ``SameSite``."""

    name: str = ""
    value: str = ""


class HTTPCookie(Value, frozen=True):
    """Hash by a cookie, which is made when it is missing and has a ``ttl``."""

    name: str = ""
    path: str = ""
    ttl: Duration | None = None
    attributes: list[CookieAttribute] = []


class RingHash(Value, frozen=True):
    """Ketama."""

    minimum_ring_size: Uint64 = 1024


class Maglev(Value, frozen=True):
    """Maglev."""

    table_size: Uint64 = 65537


class ConsistentHashLB(Value, frozen=True):
    """Requests of one kind stick to one endpoint. Exactly one of the first four is set."""

    ONE_OF = (
        ("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"),
        ("ringHash", "maglev"),
    )

    http_header_name: str = ""
    http_cookie: HTTPCookie | None = None
    use_source_ip: bool = False
    http_query_parameter_name: str = ""
    ring_hash: RingHash | None = None
    maglev: Maglev | None = None
    minimum_ring_size: Uint64 = 0


class Distribute(Value, frozen=True):
    """Weights of target localities for callers of one locality."""

    from_: str = field(default="", name="from")
    to: dict[str, Uint32] = {}


class Failover(Value, frozen=True):
    """Where a region's callers go when it is unhealthy."""

    from_: str = field(default="", name="from")
    to: str = ""


class LocalityLoadBalancerSetting(Value, frozen=True):
    """Preference for near endpoints."""

    distribute: list[Distribute] = []
    failover: list[Failover] = []
    failover_priority: list[str] = []
    enabled: bool | None = None


class ZoneAwareLoadBalancerSetting(Value, frozen=True):
    """Preference for the own zone, as far as its endpoints can bear it."""

    enabled: bool | None = None
    failover: list[Failover] = []
    failover_priority: list[str] = []
    min_cluster_size: Uint64 = 0


class WarmupConfiguration(Value, frozen=True):
    """New endpoints get their share of requests step by step."""

    duration: Duration
    minimum_percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    aggression: Annotated[float, Meta(ge=1)] | None = None


class LoadBalancerSettings(Value, frozen=True):
    """How an endpoint is chosen."""

    ONE_OF = (("simple", "consistentHash"),)

    simple: SimpleLB | None = None
    consistent_hash: ConsistentHashLB | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    zone_aware_lb_setting: ZoneAwareLoadBalancerSetting | None = None
    warmup_duration_secs: Duration | None = None
    warmup: WarmupConfiguration | None = None


class TcpKeepalive(Value, frozen=True):
    """SO_KEEPALIVE."""

    probes: Uint32 = 0
    time: Duration | None = None
    interval: Duration | None = None


class TCPSettings(Value, frozen=True):
    """Limits of all connections."""

    max_connections: Int32 = 0
    connect_timeout: Duration | None = None
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: Duration | None = None
    idle_timeout: Duration | None = None


class H2UpgradePolicy(enum.StrEnum):
    """Whether HTTP/1.1 is carried by HTTP/2 between proxies."""

    DEFAULT = "DEFAULT"
    DO_NOT_UPGRADE = "DO_NOT_UPGRADE"
    UPGRADE = "UPGRADE"


class ConnectionKeepalive(Value, frozen=True):
    """PING frames of HTTP/2."""

    interval: Duration | None = None
    timeout: Duration | None = None


class HTTPSettings(Value, frozen=True):
    """Limits of HTTP."""

    http1_max_pending_requests: Int32 = field(default=0, name="http1MaxPendingRequests")
    http2_max_requests: Int32 = field(default=0, name="http2MaxRequests")
    max_requests_per_connection: Int32 = 0
    max_retries: Int32 = 0
    idle_timeout: Duration | None = None
    h2_upgrade_policy: H2UpgradePolicy = field(default=H2UpgradePolicy.DEFAULT, name="h2UpgradePolicy")
    use_client_protocol: bool = False
    max_concurrent_streams: Int32 = 0
    http2_keep_alive: ConnectionKeepalive | None = field(default=None, name="http2KeepAlive")


class ConnectionPoolSettings(Value, frozen=True):
    """Limits which keep a slow destination from dragging its callers down."""

    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None


class OutlierDetection(Value, frozen=True):
    """Endpoints that fail are left out for a while."""

    consecutive_errors: Int32 = 0
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failures: Uint32 | None = None
    consecutive_gateway_errors: Uint32 | None = None
    consecutive_5xx_errors: Uint32 | None = field(default=None, name="consecutive5xxErrors")
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: Int32 = 0
    min_health_percent: Int32 = 0
    outlier_detection_http_error_codes: list[Uint32] = []


class ClientTLSMode(enum.StrEnum):
    """How connections to a destination are made."""

    DISABLE = "DISABLE"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


class ClientTLSSettings(Value, frozen=True):
    """TLS towards a destination. Absent: mutual TLS wherever the other side can (auto mTLS)."""

    mode: ClientTLSMode = ClientTLSMode.DISABLE
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    credential_name: str = ""
    subject_alt_names: list[str] = []
    sni: str = ""
    insecure_skip_verify: bool | None = None
    ca_crl: str = ""


class PortTrafficPolicy(Value, frozen=True):
    """Policy of one port; replaces the destination's as a whole."""

    port: PortSelector | None = None
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


class TunnelSettings(Value, frozen=True, kw_only=True):
    """TCP is carried by HTTP CONNECT or POST to this destination."""

    protocol: str = ""
    target_host: str
    target_port: Uint32


class ProxyProtocolVersion(enum.StrEnum):
    """Of the PROXY protocol."""

    V1 = "V1"
    V2 = "V2"


class ProxyProtocol(Value, frozen=True):
    """The PROXY protocol's header goes before the bytes of a connection."""

    version: ProxyProtocolVersion = ProxyProtocolVersion.V1


class RetryBudget(Value, frozen=True):
    """Retries in flight as a share of the requests in flight."""

    percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    min_retry_concurrency: Uint32 = 0
    budget_interval: Duration | None = None


class TrafficPolicy(Value, frozen=True):
    """What applies to all connections to a destination or subset."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: list[PortTrafficPolicy] = []
    tunnel: TunnelSettings | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None


class Subset(Value, frozen=True):
    """A named part of a service's endpoints."""

    name: Text
    labels: dict[str, str] = {}
    traffic_policy: TrafficPolicy | None = None


class DestinationRuleSpec(Value, frozen=True):
    """``spec`` of a DestinationRule."""

    host: str
    traffic_policy: TrafficPolicy | None = None
    subsets: list[Subset] = []
    export_to: list[str] = []
    workload_selector: WorkloadSelector | None = None


class DestinationRule(Fact, frozen=True, kw_only=True):
    """What applies to traffic for a service after routing."""

    spec: DestinationRuleSpec
