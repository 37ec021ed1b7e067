"""Where does traffic enter? Gateway (networking.istio.io)."""

from __future__ import annotations

import enum

from msgspec import field

from lateen.api.meta import Fact, Uint32, Value


class ServerTLSMode(enum.StrEnum):
    """How TLS ends at a server, or does not."""

    PASSTHROUGH = "PASSTHROUGH"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"
    OPTIONAL_MUTUAL = "OPTIONAL_MUTUAL"


class TLSProtocol(enum.StrEnum):
    """A version of TLS; ``TLS_AUTO`` leaves it to Envoy."""

    TLS_AUTO = "TLS_AUTO"
    TLSV1_0 = "TLSV1_0"
    TLSV1_1 = "TLSV1_1"
    TLSV1_2 = "TLSV1_2"
    TLSV1_3 = "TLSV1_3"


class TLSCertificate(Value, frozen=True):
    """A certificate by the paths of its files."""

    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""


class ServerTLSSettings(Value, frozen=True):
    """TLS of a server. Mode and certificates may be left out when there is only a redirect."""

    https_redirect: bool = False
    mode: ServerTLSMode | None = None
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    credential_name: str = ""
    credential_names: list[str] = []
    ca_cert_credential_name: str = ""
    tls_certificates: list[TLSCertificate] = []
    subject_alt_names: list[str] = []
    verify_certificate_spki: list[str] = []
    verify_certificate_hash: list[str] = []
    min_protocol_version: TLSProtocol | None = None
    max_protocol_version: TLSProtocol | None = None
    cipher_suites: list[str] = []
    insecure_skip_verify: bool | None = None


class GatewayPort(Value, frozen=True):
    """The port of a server, as the gateway's Service has it."""

    number: Uint32 = 0
    protocol: str = ""
    name: str = ""
    target_port: Uint32 = 0


class Server(Value, frozen=True):
    """One port and the hosts that are open on it."""

    port: GatewayPort = GatewayPort()
    bind: str = ""
    hosts: list[str] = []
    tls: ServerTLSSettings | None = None
    default_endpoint: str = ""
    name: str = ""


class GatewaySpec(Value, frozen=True):
    """``spec`` of a Gateway."""

    servers: list[Server] = []
    selector: dict[str, str] = {}


class Gateway(Fact, frozen=True):
    """Ports and hosts that gateway workloads open."""

    spec: GatewaySpec = field(default_factory=GatewaySpec)
