"""What do users write about one sidecar's listeners and horizon? Sidecar (networking.istio.io)."""

from __future__ import annotations

import enum

from msgspec import field

from lateen.api.destination_rule import ConnectionPoolSettings
from lateen.api.gateway import ServerTLSSettings
from lateen.api.meta import Fact, LabelSelector, Uint32, Value
from lateen.api.networking import Destination


class CaptureMode(enum.StrEnum):
    """How traffic comes to a listener."""

    DEFAULT = "DEFAULT"
    IPTABLES = "IPTABLES"
    NONE = "NONE"


class SidecarPort(Value, frozen=True):
    """The port of a listener; 0 with a Unix socket in ``bind``."""

    number: Uint32 = 0
    protocol: str = ""
    name: str = ""
    target_port: Uint32 = 0


class IngressListener(Value, frozen=True):
    """A port of the workload, and where its application listens."""

    port: SidecarPort | None = None
    bind: str = ""
    capture_mode: CaptureMode = CaptureMode.DEFAULT
    default_endpoint: str = ""
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None


class EgressListener(Value, frozen=True, kw_only=True):
    """The hosts (``namespace/host``) that may be called through a port, or through all others without one."""

    port: SidecarPort | None = None
    bind: str = ""
    capture_mode: CaptureMode = CaptureMode.DEFAULT
    hosts: list[str]


class OutboundMode(enum.StrEnum):
    """What happens to traffic for hosts the mesh does not know."""

    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"


class OutboundTrafficPolicy(Value, frozen=True):
    """``outboundTrafficPolicy`` of one sidecar."""

    mode: OutboundMode = OutboundMode.REGISTRY_ONLY
    egress_proxy: Destination | None = None


class SidecarSpec(Value, frozen=True):
    """``spec`` of a Sidecar."""

    workload_selector: LabelSelector | None = None
    ingress: list[IngressListener] = []
    egress: list[EgressListener] = []
    inbound_connection_pool: ConnectionPoolSettings | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None


class Sidecar(Fact, frozen=True):
    """What a sidecar is told, and what it opens."""

    spec: SidecarSpec = field(default_factory=SidecarSpec)
