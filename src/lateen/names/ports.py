"""Which protocol does a port speak? By ``appProtocol``, then by its name, else it is found out per connection.

Istio's rules: https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/
"""

from __future__ import annotations

import enum

#: Where a proxy itself listens on all addresses: captured traffic, readiness and metrics. A listener for all services of
#: such a port would have the same address, and Envoy refuses the second (Istio leaves the same four out).
RESERVED = frozenset({15001, 15006, 15021, 15090})
#: Where whatever comes from 127.0.0.1 is obeyed: Envoy's admin interface and the agent's orders. A name that somebody
#: else resolves may lead there, so that a proxy never calls these ports of one.
OBEYING = frozenset({15000, 15020})


def is_number(port: int) -> bool:
    """Whether anything can listen there. What users write into slices, not every API server looks at."""
    return 0 < port < 65536


class Protocol(enum.StrEnum):
    """What a port speaks, as far as Envoy is told."""

    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-Web"
    HTTPS = "HTTPS"
    TLS = "TLS"
    TCP = "TCP"
    MONGO = "Mongo"
    REDIS = "Redis"
    MYSQL = "MySQL"
    UDP = "UDP"
    AUTO = "AUTO"

    @property
    def is_http(self) -> bool:
        """Whether requests can be told apart: HTTP of any version, not encrypted by the application."""
        return self in (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB)

    @property
    def is_http2(self) -> bool:
        """Whether the application is to be spoken to by HTTP/2."""
        return self in (Protocol.HTTP2, Protocol.GRPC)

    @property
    def is_tls(self) -> bool:
        """Whether the application encrypts by itself."""
        return self in (Protocol.HTTPS, Protocol.TLS)

    @property
    def is_tcp(self) -> bool:
        """Whether it is forwarded byte by byte."""
        return not self.is_http and self not in (Protocol.AUTO, Protocol.UDP)


_BY_NAME = {it.value.lower(): it for it in Protocol if it is not Protocol.AUTO}
_BY_APP_PROTOCOL = {
    **_BY_NAME,
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTPS,
}
#: Server-first protocols by well-known port: detection would wait for the client's first byte
#: (Istio leaves these ports undetected).
_SERVER_FIRST = {25: Protocol.TCP, 3306: Protocol.MYSQL, 27017: Protocol.MONGO}


def protocol(name: str, app_protocol: str = "", transport: str = "TCP", number: int = 0) -> Protocol:
    """The protocol of a service's port; ``AUTO`` when nothing declares it."""
    if transport.upper() == "UDP":
        return Protocol.UDP
    if app_protocol:
        return _BY_APP_PROTOCOL.get(app_protocol.lower(), Protocol.AUTO)
    lower = name.lower()
    for prefix in ("grpc-web", lower.partition("-")[0]):
        if (lower == prefix or lower.startswith(prefix + "-")) and prefix in _BY_NAME:
            return _BY_NAME[prefix]
    return _SERVER_FIRST.get(number, Protocol.AUTO)
