"""What happens to a request? The HTTP connection manager and its filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.http.grpc_stats.v3 import config_pb2 as grpc_stats_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.matching.common_inputs.ssl.v3 import ssl_inputs_pb2

from lateen.envoy import limits, wellknown
from lateen.envoy.sealing import Message, extension, packed

#: The name of the filter that says what is offered to the next sidecar.
ALPN = "mesh.alpn"
#: What is offered is written in the metadata of each cluster that is called by the mesh's mutual TLS, by what is spoken.
#: Servers outside of the mesh are called by clusters that say nothing, and are offered what those clusters are told.
_OFFERS = {"alpn-http1": "istio-http/1.1,istio,http/1.1", "alpn-http2": "istio-h2,istio,h2"}
_HTTP1, _HTTP2 = (f"%CLUSTER_METADATA({wellknown.MESH_METADATA}:{it})%" for it in _OFFERS)
_CLUSTER = f"xds.cluster_metadata.filter_metadata['{wellknown.MESH_METADATA}']"
_ANY = f"%CEL({_CLUSTER}[request.protocol == 'HTTP/2' ? 'alpn-http2' : 'alpn-http1'])%"


def offers(http2: bool | None) -> Mapping[str, str]:
    """The metadata of a cluster that speaks HTTP/2, HTTP/1.1, or (None) what its caller speaks: by the caller's word."""
    if http2 is None:
        return _OFFERS
    return dict.fromkeys(_OFFERS, _OFFERS["alpn-http2" if http2 else "alpn-http1"])


def alpn(http2: bool | None) -> Message:
    """Offer the next sidecar what the request speaks: fixed where that is declared, asked per request otherwise."""
    return extension(ALPN, _offer(_ANY if http2 is None else _HTTP2 if http2 else _HTTP1))


def upgrade() -> Message:
    """For a route (or one of its destinations): offer HTTP/2, whatever the request speaks."""
    return packed(_offer(_HTTP2))


def _offer(text: str) -> Message:
    value = {
        "object_key": "envoy.network.application_protocols",
        "format_string": {"text_format_source": {"inline_string": text}, "omit_empty_values": True},
        "shared_with_upstream": "ONCE",
        "skip_if_empty": True,
    }
    return set_filter_state_pb2.Config(on_request_headers=[value])


def fault_filter() -> Message:
    """Does nothing until a route configures it."""
    return extension(wellknown.FAULT, fault_pb2.HTTPFault())


def cors_filter() -> Message:
    """Does nothing until a route configures it."""
    return extension(wellknown.CORS, cors_pb2.Cors())


def grpc_stats() -> Message:
    """Leaves the message counts in the filter state."""
    return extension(
        "envoy.filters.http.grpc_stats",
        grpc_stats_pb2.FilterConfig(emit_filter_state=True, stats_for_all_methods={"value": False}),
    )


def router() -> Message:
    """Sends the request on; always the last."""
    return extension("envoy.filters.http.router", router_pb2.Router())


def fault(**fields: Any) -> Message:
    """A route's faults: ``delay`` and ``abort``."""
    return packed(fault_pb2.HTTPFault(**fields))


def cors(**fields: Any) -> Message:
    """A route's CORS policy."""
    return packed(cors_pb2.CorsPolicy(**fields))


def default_filters(http2: bool | None, before: Sequence[Message] = ()) -> list[Message]:
    """The filters of a client's sidecar, or of a gateway."""
    return [*before, alpn(http2), grpc_stats(), fault_filter(), cors_filter(), router()]


def connection_manager(stat_prefix: str, filters: Sequence[Message], **fields: Any) -> Message:
    """The network filter. Websockets pass, and so does whatever HTTP/1.0 still lives.

    Who looks at the peer's own address (``use_remote_address``) stands at the edge, and bounds strangers more narrowly.
    """
    edge = bool(fields.get("use_remote_address", {}).get("value"))
    values: Mapping[str, Any] = {
        "normalize_path": {"value": True},
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "use_remote_address": {"value": False},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_protocol_options": {"accept_http_10": True},
        **limits.connection_manager(edge=edge),
        "generate_request_id": {"value": True},
        **fields,
    }
    return extension(
        wellknown.HTTP_CONNECTION_MANAGER,
        http_connection_manager_pb2.HttpConnectionManager(
            stat_prefix=stat_prefix, http_filters=list(filters), **values
        ),
    )


def callers_certificates(believed: str) -> Mapping[str, Any]:
    """Fields by which the application hears who called: in ``x-forwarded-client-cert``, what the peer proved.

    What a request brings in that header is the word of its sender, who could claim to be anybody. It is kept, before
    what is proved, from peers whose SPIFFE identity begins with ``believed`` alone.
    """
    shown = {"subject": {"value": True}, "dns": True, "uri": True}
    config = http_connection_manager_pb2.HttpConnectionManager.ForwardClientCertConfig(
        forward_client_cert_details="APPEND_FORWARD", set_current_client_cert_details=shown
    )
    peer = extension("envoy.matching.inputs.uri_san", ssl_inputs_pb2.UriSanInput())
    matcher = {
        "predicate": {"single_predicate": {"input": peer, "value_match": {"prefix": believed}}},
        "on_match": {"action": extension("forward", config)},
    }
    return {
        "forward_client_cert_details": "SANITIZE_SET", "set_current_client_cert_details": shown,
        "forward_client_cert_matcher": {"matcher_list": {"matchers": [matcher]}},
    }  # fmt: skip


def rds(name: str) -> Mapping[str, Any]:
    """The field that names a route configuration which comes by ADS."""
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": {"seconds": 0}}
    return {"route_config_name": name, "config_source": source}
