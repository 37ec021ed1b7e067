"""What do users add to Envoy by themselves? WasmPlugin, EnvoyFilter and ProxyConfig."""

from __future__ import annotations

import enum
from typing import Annotated, Any

from msgspec import Meta, field

from lateen.api.meta import Fact, Int32, LabelSelector, PolicyTarget, Text, Uint32, Value, WorkloadSelector
from lateen.api.telemetry import WorkloadMode


class PullPolicy(enum.StrEnum):
    """When a module is fetched again."""

    UNSPECIFIED_POLICY = "UNSPECIFIED_POLICY"
    IF_NOT_PRESENT = "IfNotPresent"
    ALWAYS = "Always"


class Phase(enum.StrEnum):
    """Where in the chain of filters a plugin stands."""

    UNSPECIFIED_PHASE = "UNSPECIFIED_PHASE"
    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"


class FailStrategy(enum.StrEnum):
    """What becomes of requests when a plugin cannot run."""

    FAIL_CLOSE = "FAIL_CLOSE"
    FAIL_OPEN = "FAIL_OPEN"
    FAIL_RELOAD = "FAIL_RELOAD"


class PluginType(enum.StrEnum):
    """Which filter runs the plugin."""

    UNSPECIFIED_PLUGIN_TYPE = "UNSPECIFIED_PLUGIN_TYPE"
    HTTP = "HTTP"
    NETWORK = "NETWORK"


class EnvValueSource(enum.StrEnum):
    """From where a variable has its value."""

    INLINE = "INLINE"
    HOST = "HOST"


class EnvVar(Value, frozen=True):
    """A variable of a plugin's machine."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    value_from: EnvValueSource = EnvValueSource.INLINE
    value: Annotated[str, Meta(max_length=2048)] = ""


class VMConfig(Value, frozen=True):
    """The machine a plugin runs in."""

    env: list[EnvVar] = []


class PluginPort(Value, frozen=True):
    """A port by number."""

    number: Annotated[int, Meta(ge=1, le=65535)]


class PluginMatch(Value, frozen=True):
    """To which traffic a plugin applies."""

    mode: WorkloadMode = WorkloadMode.CLIENT_AND_SERVER
    ports: list[PluginPort] = []


class WasmPluginSpec(Value, frozen=True):
    """``spec`` of a WasmPlugin."""

    url: Text
    selector: WorkloadSelector | None = None
    target_ref: PolicyTarget | None = None
    target_refs: list[PolicyTarget] = []
    sha256: Annotated[str, Meta(pattern=r"(^$|^[a-f0-9]{64}$)")] = ""
    image_pull_policy: PullPolicy = PullPolicy.UNSPECIFIED_POLICY
    image_pull_secret: Annotated[str, Meta(min_length=1, max_length=253)] = ""
    verification_key: str = ""
    plugin_config: dict[str, Any] = {}
    plugin_name: Annotated[str, Meta(min_length=1, max_length=256)] = ""
    phase: Phase = Phase.UNSPECIFIED_PHASE
    priority: Int32 | None = None
    fail_strategy: FailStrategy = FailStrategy.FAIL_CLOSE
    vm_config: VMConfig | None = None
    match: list[PluginMatch] = []
    type: PluginType = PluginType.UNSPECIFIED_PLUGIN_TYPE


class WasmPlugin(Fact, frozen=True, kw_only=True):
    """A filter in WebAssembly."""

    spec: WasmPluginSpec


class ApplyTo(enum.StrEnum):
    """Which part of Envoy's configuration a patch changes."""

    INVALID = "INVALID"
    LISTENER = "LISTENER"
    FILTER_CHAIN = "FILTER_CHAIN"
    NETWORK_FILTER = "NETWORK_FILTER"
    HTTP_FILTER = "HTTP_FILTER"
    ROUTE_CONFIGURATION = "ROUTE_CONFIGURATION"
    VIRTUAL_HOST = "VIRTUAL_HOST"
    HTTP_ROUTE = "HTTP_ROUTE"
    CLUSTER = "CLUSTER"
    EXTENSION_CONFIG = "EXTENSION_CONFIG"
    BOOTSTRAP = "BOOTSTRAP"
    LISTENER_FILTER = "LISTENER_FILTER"


class PatchContext(enum.StrEnum):
    """In which proxies and directions."""

    ANY = "ANY"
    SIDECAR_INBOUND = "SIDECAR_INBOUND"
    SIDECAR_OUTBOUND = "SIDECAR_OUTBOUND"
    GATEWAY = "GATEWAY"
    WAYPOINT = "WAYPOINT"


class PatchOperation(enum.StrEnum):
    """How a patch changes what it matches."""

    INVALID = "INVALID"
    MERGE = "MERGE"
    ADD = "ADD"
    REMOVE = "REMOVE"
    INSERT_BEFORE = "INSERT_BEFORE"
    INSERT_AFTER = "INSERT_AFTER"
    INSERT_FIRST = "INSERT_FIRST"
    REPLACE = "REPLACE"
    MERGE_AND_REPLACE_LIST = "MERGE_AND_REPLACE_LIST"


class FilterClass(enum.StrEnum):
    """Where among its like an added filter stands."""

    UNSPECIFIED = "UNSPECIFIED"
    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"


class ProxyMatch(Value, frozen=True):
    """Which proxies."""

    proxy_version: str = ""
    metadata: dict[str, str] = {}


class SubFilterMatch(Value, frozen=True):
    """A filter inside the HTTP connection manager."""

    name: str = ""


class FilterMatch(Value, frozen=True):
    """A network filter by name."""

    name: str = ""
    sub_filter: SubFilterMatch | None = None


class FilterChainMatch(Value, frozen=True):
    """A filter chain."""

    name: str = ""
    sni: str = ""
    transport_protocol: str = ""
    application_protocols: str = ""
    filter: FilterMatch | None = None
    destination_port: Uint32 = 0


class ListenerMatch(Value, frozen=True):
    """A listener."""

    port_number: Uint32 = 0
    port_name: str = ""
    filter_chain: FilterChainMatch | None = None
    listener_filter: str = ""
    name: str = ""


class RouteAction(enum.StrEnum):
    """What a route does."""

    ANY = "ANY"
    ROUTE = "ROUTE"
    REDIRECT = "REDIRECT"
    DIRECT_RESPONSE = "DIRECT_RESPONSE"


class RouteMatch(Value, frozen=True):
    """A route of a virtual host."""

    name: str = ""
    action: RouteAction = RouteAction.ANY


class VirtualHostMatch(Value, frozen=True):
    """A virtual host."""

    name: str = ""
    domain_name: str = ""
    route: RouteMatch | None = None


class RouteConfigurationMatch(Value, frozen=True):
    """A route configuration."""

    port_number: Uint32 = 0
    port_name: str = ""
    gateway: str = ""
    vhost: VirtualHostMatch | None = None
    name: str = ""


class ClusterMatch(Value, frozen=True):
    """A cluster."""

    port_number: Uint32 = 0
    service: str = ""
    subset: str = ""
    name: str = ""


class WaypointRouteMatch(Value, frozen=True):
    """A route of a waypoint, by name."""

    name: str = ""


class WaypointMatch(Value, frozen=True):
    """A part of a waypoint."""

    ONE_OF = (("filter", "route"),)

    port_number: Uint32 = 0
    route: WaypointRouteMatch | None = None
    filter: FilterMatch | None = None


class ObjectMatch(Value, frozen=True):
    """What a patch is applied to."""

    ONE_OF = (("listener", "routeConfiguration", "cluster", "waypoint"),)

    context: PatchContext = PatchContext.ANY
    proxy: ProxyMatch | None = None
    listener: ListenerMatch | None = None
    route_configuration: RouteConfigurationMatch | None = None
    cluster: ClusterMatch | None = None
    waypoint: WaypointMatch | None = None


class Patch(Value, frozen=True):
    """The change: ``value`` is Envoy's JSON."""

    operation: PatchOperation = PatchOperation.INVALID
    value: dict[str, Any] | None = None
    filter_class: FilterClass = FilterClass.UNSPECIFIED


class ConfigPatch(Value, frozen=True):
    """One patch."""

    apply_to: ApplyTo = ApplyTo.INVALID
    match: ObjectMatch | None = None
    patch: Patch | None = None


class EnvoyFilterSpec(Value, frozen=True):
    """``spec`` of an EnvoyFilter."""

    ONE_OF = (("workloadSelector", "targetRefs"),)

    workload_selector: LabelSelector | None = None
    target_refs: list[PolicyTarget] = []
    config_patches: list[ConfigPatch] = []
    priority: Int32 = 0


class EnvoyFilter(Fact, frozen=True):
    """Patches of what Envoy is told."""

    spec: EnvoyFilterSpec = field(default_factory=EnvoyFilterSpec)


class ProxyImage(Value, frozen=True):
    """Which build of the proxy's image."""

    image_type: str = ""


class ProxyConfigSpec(Value, frozen=True):
    """``spec`` of a ProxyConfig."""

    selector: WorkloadSelector | None = None
    concurrency: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    environment_variables: dict[str, Annotated[str, Meta(max_length=2048)]] = {}
    image: ProxyImage | None = None


class ProxyConfig(Fact, frozen=True):
    """How some proxies are started."""

    spec: ProxyConfigSpec = field(default_factory=ProxyConfigSpec)
