"""What is accepted? Listeners, their filter chains and what looks at a connection first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from lateen.envoy import limits, wellknown
from lateen.envoy.endpoints import socket_address
from lateen.envoy.sealing import Message, extension


def original_dst() -> Message:
    """Finds out where the client wanted to go before it was redirected."""
    return extension("envoy.filters.listener.original_dst", original_dst_pb2.OriginalDst())


def tls_inspector() -> Message:
    """Finds out whether it is TLS, for whom, and what is offered."""
    return extension("envoy.filters.listener.tls_inspector", tls_inspector_pb2.TlsInspector())


def proxy_protocol() -> Message:
    """Reads who the client is from the header with which a balancer begins each connection."""
    return extension("envoy.filters.listener.proxy_protocol", proxy_protocol_pb2.ProxyProtocol())


def http_inspector() -> Message:
    """Finds out whether it is HTTP."""
    return extension("envoy.filters.listener.http_inspector", http_inspector_pb2.HttpInspector())


def tcp_proxy(stat_prefix: str, cluster: str, logs: Sequence[Message], **fields: Any) -> Message:
    """The network filter that passes bytes on."""
    target = {"cluster": cluster} if cluster else {}
    return extension(
        wellknown.TCP_PROXY,
        tcp_proxy_pb2.TcpProxy(
            stat_prefix=stat_prefix,
            access_log=list(logs),
            access_log_options={"flush_access_log_on_connected": True},
            **target,
            **fields,
        ),
    )


def chain(
    name: str, filters: Sequence[Message], match: Mapping[str, Any] | None = None, **fields: Any
) -> Message:
    """A filter chain."""
    if match:
        fields["filter_chain_match"] = match
    return listener_components_pb2.FilterChain(name=name, filters=list(filters), **fields)


def listener(name: str, address: str, port: int, chains: Sequence[Message], **fields: Any) -> Message:
    """A listener; ``bind_to_port=False`` makes it one that only the capturing listener hands to."""
    fields.setdefault("per_connection_buffer_limit_bytes", {"value": limits.BUFFER_BYTES})
    bind = fields.pop("bind_to_port", True)
    if not bind:
        fields["bind_to_port"] = {"value": False}
    return listener_pb2.Listener(
        name=name, address=socket_address(address, port), filter_chains=list(chains), **fields
    )
