"""Settings of a proxy: ``defaultConfig`` of MeshConfig, and the annotation ``proxy.istio.io/config`` of a pod.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig ; not the kind ProxyConfig, which is
``lateen.api.extensions``.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any

import msgspec

from lateen.api.destination_rule import ClientTLSSettings, TcpKeepalive
from lateen.api.extensions import ProxyImage
from lateen.api.meta import Duration, Int32, Uint32, Value
from lateen.api.workloads import ReadinessProbe

#: 0 stands for the default.
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class ForwardClientCertDetails(enum.StrEnum):
    """What a gateway does with the header ``x-forwarded-client-cert``."""

    UNDEFINED = "UNDEFINED"
    SANITIZE = "SANITIZE"
    FORWARD_ONLY = "FORWARD_ONLY"
    APPEND_FORWARD = "APPEND_FORWARD"
    SANITIZE_SET = "SANITIZE_SET"
    ALWAYS_FORWARD_ONLY = "ALWAYS_FORWARD_ONLY"


class ProxyProtocol(Value, frozen=True):
    """``gatewayTopology.proxyProtocol``: has no fields; being there, it asks for the PROXY protocol."""


class Topology(Value, frozen=True):
    """``gatewayTopology``: what stands before a gateway."""

    num_trusted_proxies: Uint32 = 0
    forward_client_cert_details: ForwardClientCertDetails = ForwardClientCertDetails.UNDEFINED
    proxy_protocol: ProxyProtocol | None = None


class InterceptionMode(enum.StrEnum):
    """How inbound traffic gets to the proxy."""

    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"
    NONE = "NONE"


class AuthenticationPolicy(enum.StrEnum):
    """How a proxy proves itself to the control plane."""

    NONE = "NONE"
    MUTUAL_TLS = "MUTUAL_TLS"
    INHERIT = "INHERIT"


class TracingServiceName(enum.StrEnum):
    """What spans call a workload."""

    APP_LABEL_AND_NAMESPACE = "APP_LABEL_AND_NAMESPACE"
    CANONICAL_NAME_ONLY = "CANONICAL_NAME_ONLY"
    CANONICAL_NAME_AND_NAMESPACE = "CANONICAL_NAME_AND_NAMESPACE"


class Collector(Value, frozen=True):
    """``zipkin`` and ``datadog``: where spans go."""

    address: str = ""


class Lightstep(Value, frozen=True):
    """``lightstep``."""

    address: str = ""
    access_token: str = ""


class Stackdriver(Value, frozen=True):
    """``stackdriver``."""

    debug: bool = False
    max_number_of_attributes: int | None = None
    max_number_of_annotations: int | None = None
    max_number_of_message_events: int | None = None


class TraceContext(enum.StrEnum):
    """In which headers a trace travels."""

    UNSPECIFIED = "UNSPECIFIED"
    W3C_TRACE_CONTEXT = "W3C_TRACE_CONTEXT"
    GRPC_BIN = "GRPC_BIN"
    CLOUD_TRACE_CONTEXT = "CLOUD_TRACE_CONTEXT"
    B3 = "B3"


class OpenCensusAgent(Value, frozen=True):
    """``openCensusAgent``."""

    address: str = ""
    context: list[TraceContext] = []


class Literal(Value, frozen=True):
    """A tag's value, as it is written."""

    value: str = ""


class Named(Value, frozen=True):
    """A tag's value from a variable or a header."""

    name: str = ""
    default_value: str = ""


class CustomTag(Value, frozen=True):
    """A tag on every span."""

    ONE_OF = (("literal", "environment", "header"),)

    literal: Literal | None = None
    environment: Named | None = None
    header: Named | None = None


class Tracing(Value, frozen=True):
    """``tracing``."""

    ONE_OF = (("zipkin", "lightstep", "datadog", "stackdriver", "openCensusAgent"),)

    zipkin: Collector | None = None
    lightstep: Lightstep | None = None
    datadog: Collector | None = None
    stackdriver: Stackdriver | None = None
    open_census_agent: OpenCensusAgent | None = None
    custom_tags: dict[str, CustomTag] = {}
    max_path_tag_length: Uint32 = 0
    sampling: float = 0.0
    tls_settings: ClientTLSSettings | None = None
    enable_istio_tags: bool | None = None


class SDS(Value, frozen=True):
    """``sds``, of old."""

    enabled: bool = False
    k8s_sa_jwt_path: str = ""


class RemoteService(Value, frozen=True):
    """``envoyAccessLogService`` and ``envoyMetricsService``."""

    address: str = ""
    tls_settings: ClientTLSSettings | None = None
    tcp_keepalive: TcpKeepalive | None = None


class ProxyStatsMatcher(Value, frozen=True):
    """``proxyStatsMatcher``: statistics to keep besides the usual."""

    inclusion_prefixes: list[str] = []
    inclusion_suffixes: list[str] = []
    inclusion_regexps: list[str] = []


class Accelerator(Value, frozen=True):
    """``cryptomb`` and ``qat``: who computes with private keys."""

    poll_delay: Duration | None = None
    fallback: bool | None = None


class PrivateKeyProvider(Value, frozen=True):
    """``privateKeyProvider``."""

    ONE_OF = (("cryptomb", "qat"),)

    cryptomb: Accelerator | None = None
    qat: Accelerator | None = None


class Switch(Value, frozen=True):
    """A header that is left out."""

    disabled: bool | None = None


class ServerHeader(Value, frozen=True):
    """The header ``server``."""

    disabled: bool | None = None
    value: str = ""


class MetadataExchangeMode(enum.StrEnum):
    """With whom the proxies' own headers are exchanged."""

    UNDEFINED = "UNDEFINED"
    IN_MESH = "IN_MESH"


class MetadataExchangeHeaders(Value, frozen=True):
    """The proxies' own headers."""

    mode: MetadataExchangeMode = MetadataExchangeMode.UNDEFINED


class ClientCertDetails(Value, frozen=True):
    """What of the client's certificate is put into its header."""

    subject: bool | None = None
    cert: bool | None = None
    chain: bool | None = None
    dns: bool | None = None
    uri: bool | None = None


class Forwarded(Value, frozen=True):
    """``xForwardedHost`` and ``xForwardedPort``."""

    enabled: bool | None = None


class ProxyHeaders(Value, frozen=True):
    """``proxyHeaders``: which headers a proxy adds."""

    forwarded_client_cert: ForwardClientCertDetails = ForwardClientCertDetails.UNDEFINED
    set_current_client_cert_details: ClientCertDetails | None = None
    request_id: Switch | None = None
    server: ServerHeader | None = None
    attempt_count: Switch | None = None
    envoy_debug_headers: Switch | None = None
    metadata_exchange_headers: MetadataExchangeHeaders | None = None
    preserve_http1_header_case: bool | None = None
    x_forwarded_host: Forwarded | None = None
    x_forwarded_port: Forwarded | None = None


class ProxyConfig(Value, frozen=True):
    """All fields of Istio's message; None and empty mean that nothing was said."""

    ONE_OF = (("serviceCluster", "tracingServiceName"),)

    config_path: str = ""
    binary_path: str = ""
    service_cluster: str = ""
    tracing_service_name: TracingServiceName | None = None
    drain_duration: Duration | None = None
    parent_shutdown_duration: Duration | None = None
    discovery_address: str = "istiod.istio-system.svc:15012"
    discovery_refresh_delay: Duration | None = None
    zipkin_address: str = ""
    statsd_udp_address: str = ""
    envoy_metrics_service_address: str = ""
    proxy_admin_port: Port = 0
    availability_zone: str = ""
    control_plane_auth_policy: AuthenticationPolicy = AuthenticationPolicy.MUTUAL_TLS
    custom_config_file: str = ""
    stat_name_length: Int32 = 0
    concurrency: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None
    proxy_bootstrap_template_path: str = ""
    interception_mode: InterceptionMode = InterceptionMode.REDIRECT
    tracing: Tracing | None = None
    sds: SDS | None = None
    envoy_access_log_service: RemoteService | None = None
    envoy_metrics_service: RemoteService | None = None
    proxy_metadata: dict[str, str] = {}
    runtime_values: dict[str, str] = {}
    status_port: Port = 0
    extra_stat_tags: list[str] = []
    gateway_topology: Topology = Topology()
    termination_drain_duration: Duration | None = None
    mesh_id: str = ""
    readiness_probe: ReadinessProbe | None = None
    proxy_stats_matcher: ProxyStatsMatcher | None = None
    hold_application_until_proxy_starts: bool | None = None
    ca_certificates_pem: list[str] = []
    image: ProxyImage | None = None
    private_key_provider: PrivateKeyProvider | None = None
    proxy_headers: ProxyHeaders | None = None
    file_flush_interval: Duration | None = None
    file_flush_min_size_kb: Uint32 = 0
    #: Limits and profiles of listeners, of API 1.31: not looked into.
    connection_settings: dict[str, Any] = {}


#: Fields by their names in JSON that injection, the agent or the compiler act on; all others are told.
FOLLOWED = frozenset({
    "configPath", "binaryPath", "drainDuration", "discoveryAddress", "proxyAdminPort", "concurrency", "proxyMetadata",
    "statusPort", "terminationDrainDuration", "proxyStatsMatcher", "holdApplicationUntilProxyStarts", "gatewayTopology",
    "interceptionMode",
})  # fmt: skip
#: Variables of ``proxyMetadata`` that mean something to Istio's agent, and nothing here.
IDLE_VARIABLES = frozenset({
    "ISTIO_META_DNS_CAPTURE", "ISTIO_META_DNS_AUTO_ALLOCATE", "ISTIO_META_ENABLE_HBONE", "ISTIO_META_IDLE_TIMEOUT",
    "ISTIO_META_UNPRIVILEGED_POD", "ISTIO_META_PROXY_XDS_VIA_AGENT", "ISTIO_META_TLS_CLIENT_KEY",
    "ISTIO_META_TLS_CLIENT_CERT_CHAIN", "ISTIO_META_TLS_CLIENT_ROOT_CERT", "ISTIO_META_TLS_SERVER_KEY",
    "ISTIO_META_TLS_SERVER_CERT_CHAIN", "ISTIO_META_TLS_SERVER_ROOT_CERT", "ISTIO_AGENT_ENABLE_WASM_REMOTE_LOAD_CONVERSION",
    "BOOTSTRAP_XDS_AGENT", "PROXY_XDS_VIA_AGENT", "PROXY_XDS_DEBUG_VIA_AGENT", "OUTPUT_CERTS", "PROV_CERT",
    "FILE_MOUNTED_CERTS", "CA_PROVIDER", "CA_ROOT_CA", "XDS_ROOT_CA", "XDS_AUTH_PROVIDER", "PKCS8_KEY", "WORKLOAD_RSA_KEY_SIZE",
    "ECC_SIGNATURE_ALGORITHM", "ECC_CURVE", "SECRET_GRACE_PERIOD_RATIO", "CREDENTIAL_FETCHER_TYPE", "IPTABLES_TRACE_LOGGING",
    "MINIMUM_DRAIN_DURATION", "ISTIO_DUAL_STACK", "ISTIO_GPRC_MAXRECVMSGSIZE", "ENABLE_PROBE_KEEPALIVE_CONNECTIONS",
    "INVALID_DROP", "DRY_RUN_FILE_PATH", "ENVOY_PROMETHEUS_PORT", "ENVOY_STATUS_PORT", "WASM_INSECURE_REGISTRIES",
})  # fmt: skip
