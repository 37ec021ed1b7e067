"""What are things called that Envoy, the agent and Istio's tools agree on? Names, ports and paths."""

from __future__ import annotations

VIRTUAL_OUTBOUND = "virtualOutbound"
VIRTUAL_INBOUND = "virtualInbound"
OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
ADMIN_PORT = 15000
AGENT_PORT = 15020
READY_PORT = 15021
STATS_PORT = 15090

BLACK_HOLE = "BlackHoleCluster"
PASSTHROUGH = "PassthroughCluster"
INBOUND_PASSTHROUGH = "InboundPassthroughCluster"
XDS_CLUSTER = "xds-grpc"

#: From here the sidecar calls its own application, so that the interception rules leave it alone.
INBOUND_SOURCE = "127.0.0.6"

#: Secrets are files, one each, which the agent renames into place.
SDS_FOLDER = "/etc/istio/proxy/sds"
WORKLOAD_SECRET = "default"  # noqa: S105 - a name
ROOT_SECRET = "ROOTCA"  # noqa: S105 - a name

#: The key of everything that we tell Envoy about endpoints and clusters for its metrics.
MESH_METADATA = "mesh"
#: The key of what Istio's tools look for.
ISTIO_METADATA = "istio"
TRANSPORT_MATCH = "envoy.transport_socket_match"

#: Who signed the servers of the internet, as Debian's and Ubuntu's images say.
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"

TLS_SOCKET = "envoy.transport_sockets.tls"
RAW_SOCKET = "envoy.transport_sockets.raw_buffer"
HTTP_CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
TCP_PROXY = "envoy.filters.network.tcp_proxy"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
FAULT = "envoy.filters.http.fault"
CORS = "envoy.filters.http.cors"

#: What sidecars offer each other instead of plain ALPN, and how a server recognises one (Istio's words).
MESH_HTTP_ALPN = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
MESH_TCP_ALPN = ("istio-peer-exchange", "istio")
HTTP_ALPN = ("http/1.0", "http/1.1", "h2c")


def secret_path(name: str) -> str:
    """The file that holds a secret."""
    return f"{SDS_FOLDER}/{name}.json"


def written_in(kind: str, namespace: str, name: str) -> str:
    """What Istio's tools call the object that shaped a resource, as its metadata say: ``kind`` is ``destination-rule``."""
    return f"/apis/networking.istio.io/v1/namespaces/{namespace}/{kind}/{name}"
