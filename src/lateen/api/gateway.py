"""Where does traffic enter? Gateway (networking.istio.io)."""

from __future__ import annotations

import enum

from msgspec import field

from lateen.api.meta import Fact, Value


class ServerTLSMode(enum.StrEnum):
    """How TLS ends at a server, or does not."""

    PASSTHROUGH = "PASSTHROUGH"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"
    OPTIONAL_MUTUAL = "OPTIONAL_MUTUAL"


class ServerTLSSettings(Value, frozen=True):
    """TLS of a server. Mode and certificates may be left out when there is only a redirect."""

    https_redirect: bool = False
    mode: ServerTLSMode | None = None
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    credential_name: str = ""
    subject_alt_names: list[str] = []
    min_protocol_version: str = ""
    max_protocol_version: str = ""
    cipher_suites: list[str] = []


class GatewayPort(Value, frozen=True):
    """The port of a server, as the gateway's Service has it."""

    number: int = 0
    protocol: str = ""
    name: str = ""
    target_port: int = 0


class Server(Value, frozen=True):
    """One port and the hosts that are open on it."""

    port: GatewayPort = GatewayPort()
    bind: str = ""
    hosts: list[str] = []
    tls: ServerTLSSettings | None = None
    name: str = ""


class GatewaySpec(Value, frozen=True):
    """``spec`` of a Gateway."""

    servers: list[Server] = []
    selector: dict[str, str] = {}


class Gateway(Fact, frozen=True):
    """Ports and hosts that gateway workloads open."""

    spec: GatewaySpec = field(default_factory=GatewaySpec)
