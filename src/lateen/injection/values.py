"""Helm's values for the injector: those that act, with their types, and those of Istio's that do not, which are told.

https://istio.io/latest/docs/setup/additional-setup/customize-installation-helm/ ; the names are those of Istio's charts.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

from lateen.api import lenient
from lateen.api.meta import Value
from lateen.api.proxy_config import Port
from lateen.api.validate.finding import Finding, entry, warning
from lateen.injection import idle_values

Object = dict[str, Any]
#: ``--set`` makes numbers of what looks like one: a list of one port, a tag.
Text = str | int | float
Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
#: Of probes: Kubernetes takes no 0.
Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class Policy(enum.StrEnum):
    """Whether pods that say nothing are injected."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class PullPolicy(enum.StrEnum):
    """When an image is fetched."""

    DEFAULT = ""  # as Kubernetes sees fit
    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Operator(enum.StrEnum):
    """Of an expression over labels."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class Expression(Value, frozen=True, kw_only=True):
    """One of ``matchExpressions``."""

    key: str
    operator: Operator
    values: list[str] = []


class Selector(Value, frozen=True):
    """A label selector of Kubernetes."""

    match_labels: dict[str, str] = {}
    match_expressions: list[Expression] = []


class Named(Value, frozen=True):
    """``proxy_init``: an image."""

    image: str = ""


class Logging(Value, frozen=True):
    """``logging``."""

    level: str = "info"


class MultiCluster(Value, frozen=True):
    """``multiCluster``."""

    cluster_name: str = ""


class Resources(Value, frozen=True):
    """Of a container."""

    requests: dict[str, Text] = {}
    limits: dict[str, Text] = {}


class StartupProbe(Value, frozen=True):
    """``startupProbe``: the first success of it makes a sidecar ready at once."""

    enabled: bool = True
    failure_threshold: Count = 600


class Proxy(Value, frozen=True):
    """``global.proxy``."""

    image: str = "proxy"
    auto_inject: Policy = Policy.ENABLED
    log_level: str = "warning"
    component_log_level: str = "misc:error"
    include_ip_ranges: str = msgspec.field(default="*", name="includeIPRanges")
    exclude_ip_ranges: str = msgspec.field(default="", name="excludeIPRanges")
    include_inbound_ports: Text = "*"
    exclude_inbound_ports: Text = ""
    include_outbound_ports: Text = ""
    exclude_outbound_ports: Text = ""
    hold_application_until_proxy_starts: bool = False
    readiness_initial_delay_seconds: Seconds = 0
    readiness_period_seconds: Count = 15
    readiness_failure_threshold: Count = 4
    startup_probe: StartupProbe = StartupProbe()
    #: None where nothing is said; 0 means that nobody asks the agent.
    status_port: Port | None = None
    resources: Resources = Resources()
    lifecycle: Object = {}
    privileged: bool = False
    seccomp_profile: Object = {}
    cap_net_bind_service: bool = False


class Global(Value, frozen=True):
    """``global``."""

    hub: str = "lateen"
    tag: Text = "latest"
    image_pull_policy: PullPolicy = PullPolicy.DEFAULT
    image_pull_secrets: list[str] = []
    istio_namespace: str = "istio-system"
    cluster_name: str = ""  # Lateen's installation writes it; Istio's is below multiCluster
    multi_cluster: MultiCluster = MultiCluster()
    mesh_id: str = msgspec.field(default="", name="meshID")
    network: str = ""
    logging: Logging = Logging()
    ca_address: str = ""
    mount_mtls_certs: bool = False
    proxy: Proxy = Proxy()
    proxy_init: Named = msgspec.field(default=Named(), name="proxy_init")


class Pilot(Value, frozen=True):
    """``pilot``: what the installation reads is here, too, so that it is known."""

    env: dict[str, str | int | bool | float] = {}
    grpc_addr: str = ""
    resources: Object = {}


class Injector(Value, frozen=True):
    """``sidecarInjectorWebhook``, and the ConfigMap's key ``config``, which wins."""

    enable_namespaces_by_default: bool = False
    rewrite_app_http_probe: bool = msgspec.field(default=True, name="rewriteAppHTTPProbe")
    never_inject_selector: list[Selector] = []
    always_inject_selector: list[Selector] = []
    injected_annotations: dict[str, Text] = {}
    policy: Policy | None = None


class Gateways(Value, frozen=True):
    """``gateways``: of pods with the template ``gateway``."""

    security_context: Object = {}


class Values(Value, frozen=True):
    """The part of Helm's values that acts."""

    shared: Global = msgspec.field(default=Global(), name="global")
    pilot: Pilot = Pilot()
    sidecar_injector_webhook: Injector = Injector()
    gateways: Gateways = Gateways()
    revision: str = ""


class Reading(NamedTuple):
    """Values, and what is wrong, unknown or without effect in the document; paths begin at the values."""

    values: Values
    told: tuple[Finding, ...]


def read(document: Mapping[str, Any], kept: Values | None = None) -> Reading:
    """The values; a field that cannot be read has the value it has in ``kept``, or its default."""
    idle: list[Finding] = []
    heeded = _without_idle(document, "", idle)
    values, wrong = lenient.read(heeded, kept or Values())
    return Reading(values, (*wrong, *idle[: lenient.MOST_TOLD], *_of_environment(values.pilot.env)))


def _without_idle(tree: Mapping[str, Any], at: str, told: list[Finding]) -> Object:
    """The part that acts or is unknown; what is left out is told unless it says what is the case anyway."""
    kept: Object = {}
    for name, value in tree.items():
        path = entry(at, str(name)) if at else str(name)
        if path in idle_values.IDLE:
            if not idle_values.quiet(path, value):
                told.append(warning(path, idle_values.reason(path)))
        elif isinstance(value, Mapping) and value and (not at or path in idle_values.GROUPS):
            if rest := _without_idle(value, path, told):
                kept[str(name)] = rest
        else:
            kept[str(name)] = value
    return kept


def _of_environment(env: Mapping[str, Any]) -> Iterator[Finding]:
    for name in env:
        if name not in idle_values.READ_BY_CONTROL_PLANE and not name.startswith(idle_values.OF_PROGRAMS):
            yield warning(
                entry("pilot.env", name), f"{idle_values.NO_EFFECT}: the control plane does not read it"
            )
