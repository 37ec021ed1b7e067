"""What do users write about routes? VirtualService and its parts (networking.istio.io)."""

from __future__ import annotations

import enum

from msgspec import field
from msgspec.structs import force_setattr

from lateen.api.meta import Duration, Fact, Int32, Uint32, Value


class StringMatch(Value, frozen=True):
    """Exactly one of the three is set."""

    ONE_OF = (("exact", "prefix", "regex"),)

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class PortSelector(Value, frozen=True):
    """A port by number."""

    number: Uint32 = 0


class Destination(Value, frozen=True):
    """Where a request may go."""

    host: str = ""
    subset: str = ""
    port: PortSelector | None = None


class HeaderOperations(Value, frozen=True):
    """``set`` overwrites, ``add`` appends, ``remove`` deletes."""

    set: dict[str, str] = {}
    add: dict[str, str] = {}
    remove: list[str] = []


class Headers(Value, frozen=True):
    """What is done to the headers of requests and responses."""

    request: HeaderOperations = HeaderOperations()
    response: HeaderOperations = HeaderOperations()


class HTTPMatchRequest(Value, frozen=True):
    """All conditions of one entry hold together; entries are alternatives."""

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: dict[str, StringMatch] = {}
    without_headers: dict[str, StringMatch] = {}
    query_params: dict[str, StringMatch] = {}
    port: Uint32 = 0
    source_labels: dict[str, str] = {}
    source_namespace: str = ""
    gateways: list[str] = []
    ignore_uri_case: bool = False
    stat_prefix: str = ""


class HTTPRouteDestination(Value, frozen=True):
    """One of the weighted destinations. Without weights, all of it goes to the only one."""

    destination: Destination = Destination()
    weight: Int32 = 0
    headers: Headers = Headers()


class RedirectPort(enum.StrEnum):
    """From where the port of a redirect is taken."""

    FROM_PROTOCOL_DEFAULT = "FROM_PROTOCOL_DEFAULT"
    FROM_REQUEST_PORT = "FROM_REQUEST_PORT"


class HTTPRedirect(Value, frozen=True):
    """The answer is a redirect."""

    ONE_OF = (("port", "derivePort"),)

    uri: str = ""
    authority: str = ""
    port: Uint32 = 0
    derive_port: RedirectPort | None = None
    prefix_rewrite: str = ""
    scheme: str = ""
    redirect_code: Uint32 = 301


class HTTPBody(Value, frozen=True):
    """The body of a direct response."""

    ONE_OF = (("string", "bytes"),)

    string: str = ""
    bytes: str = ""


class HTTPDirectResponse(Value, frozen=True):
    """The answer is given by the proxy."""

    status: Uint32 = 200
    body: HTTPBody | None = None


class RegexRewrite(Value, frozen=True):
    """RE2 pattern and substitution."""

    match: str = ""
    rewrite: str = ""


class HTTPRewrite(Value, frozen=True):
    """What is changed before the request goes on."""

    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRetry(Value, frozen=True):
    """When and how often a request is tried again. ``attempts`` 0 means never."""

    attempts: Int32 = 0
    per_try_timeout: Duration | None = None
    retry_on: str = ""
    retry_remote_localities: bool | None = None
    backoff: Duration | None = None
    retry_ignore_previous_hosts: bool | None = None


class Percent(Value, frozen=True):
    """0 to 100."""

    value: float = 0.0


class FaultDelay(Value, frozen=True):
    """Requests are held."""

    ONE_OF = (("fixedDelay", "exponentialDelay"),)

    fixed_delay: Duration | None = None
    exponential_delay: Duration | None = None
    percentage: Percent | None = None
    percent: Int32 | None = None


class FaultAbort(Value, frozen=True):
    """Requests are answered with an error."""

    ONE_OF = (("httpStatus", "grpcStatus", "http2Error"),)

    http_status: Int32 | None = None
    grpc_status: str = ""
    http2_error: str = field(default="", name="http2Error")
    percentage: Percent | None = None


class HTTPFaultInjection(Value, frozen=True):
    """Trouble on purpose."""

    delay: FaultDelay | None = None
    abort: FaultAbort | None = None


class HTTPMirrorPolicy(Value, frozen=True):
    """A copy of requests goes there, and its answer is thrown away."""

    destination: Destination = Destination()
    percentage: Percent | None = None


class UnmatchedPreflights(enum.StrEnum):
    """What becomes of a preflight whose origin is not allowed."""

    UNSPECIFIED = "UNSPECIFIED"
    FORWARD = "FORWARD"
    IGNORE = "IGNORE"


class CorsPolicy(Value, frozen=True):
    """Cross-origin requests, as Envoy's CORS filter answers them."""

    allow_origins: list[StringMatch] = []
    allow_origin: list[str] = []
    allow_methods: list[str] = []
    allow_headers: list[str] = []
    expose_headers: list[str] = []
    max_age: Duration | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: UnmatchedPreflights = UnmatchedPreflights.UNSPECIFIED


class Delegate(Value, frozen=True):
    """Another VirtualService that says the rest."""

    name: str = ""
    namespace: str = ""


class HTTPRoute(Value, frozen=True):
    """One rule: the first that matches decides."""

    name: str = ""
    match: list[HTTPMatchRequest] = []
    route: list[HTTPRouteDestination] = []
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: Duration | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: list[HTTPMirrorPolicy] = []
    mirror_percent: Uint32 | None = None
    #: Istio's definitions have the old name beside the new one.
    mirror_percent_of_old: Uint32 | None = field(default=None, name="mirror_percent")
    mirror_percentage: Percent | None = None
    cors_policy: CorsPolicy | None = None
    headers: Headers = Headers()

    def __post_init__(self) -> None:
        """One field says it, whichever was written."""
        if self.mirror_percent is None and self.mirror_percent_of_old is not None:
            force_setattr(self, "mirror_percent", self.mirror_percent_of_old)
        force_setattr(self, "mirror_percent_of_old", None)


class L4MatchAttributes(Value, frozen=True):
    """Conditions on a connection. ``sniHosts`` are for TLS only, ``sourceSubnet`` for TCP only."""

    destination_subnets: list[str] = []
    source_subnet: str = ""
    port: Uint32 = 0
    source_labels: dict[str, str] = {}
    source_namespace: str = ""
    gateways: list[str] = []
    sni_hosts: list[str] = []


class RouteDestination(Value, frozen=True):
    """One of the weighted destinations of connections."""

    destination: Destination = Destination()
    weight: Int32 = 0


class L4Route(Value, frozen=True):
    """A rule for TCP, or for TLS that is passed through by SNI."""

    match: list[L4MatchAttributes] = []
    route: list[RouteDestination] = []


class VirtualServiceSpec(Value, frozen=True):
    """``spec`` of a VirtualService."""

    hosts: list[str] = []
    gateways: list[str] = []
    http: list[HTTPRoute] = []
    tls: list[L4Route] = []
    tcp: list[L4Route] = []
    export_to: list[str] = []


class VirtualService(Fact, frozen=True):
    """How requests to some hosts are routed."""

    spec: VirtualServiceSpec = field(default_factory=VirtualServiceSpec)
