"""Bounds on what one peer may cost an Envoy: time, headers, streams and buffers, for every listener that we make.

Values and their reasons: https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge
No protobuf here: the agent builds its bootstrap from the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

Fields = dict[str, Any]

#: From the first byte of a request to the last of its headers.
HEADERS_S: Final = 10
#: Of one request, all headers together and how many; Envoy's own defaults, said so that nobody has to know them.
HEADERS_KB: Final = 60
HEADERS: Final = 100
#: What Envoy holds of one connection in each direction before it stops reading. Not less at gateways: a request that is
#: to be tried again or mirrored must fit. Where memory is scarce, ``against_overload`` acts.
BUFFER_BYTES: Final = 2**20
#: How long a connection without requests may stay, as Envoy's default.
IDLE_S: Final = 3600
#: How many requests at a time one HTTP/2 connection may have open: from within the mesh, and from outside.
STREAMS: Final = 1024
EDGE_STREAMS: Final = 100
#: Windows of HTTP/2 towards strangers: what one of them may send before it is read.
EDGE_STREAM_BYTES: Final = 64 * 1024
EDGE_CONNECTION_BYTES: Final = 2**20
#: Where nothing but a page is asked for.
PAGE_BUFFER_BYTES: Final = 32 * 1024
#: Connections from outside that a gateway holds, and its heap where the container has no limit of its own.
EDGE_CONNECTIONS: Final = 50_000
EDGE_HEAP_BYTES: Final = 2 * 2**30


@dataclass(frozen=True, slots=True)
class Overload:
    """When an Envoy defends itself: its heap, and the connections to all of its listeners together."""

    connections: int
    #: 0 is no bound: beside an application the memory limit of the container decides.
    heap_bytes: int = 0


#: The proxy of one application: whom it serves is bounded by the application.
SIDECAR: Final = Overload(2**31 - 1)


def connection_manager(*, edge: bool) -> Fields:
    """Fields of an HTTP connection manager. At the edge stand gateways, whom anybody may call."""
    http2 = {"max_concurrent_streams": {"value": STREAMS}}
    if edge:
        http2 = {
            "max_concurrent_streams": {"value": EDGE_STREAMS},
            "initial_stream_window_size": {"value": EDGE_STREAM_BYTES},
            "initial_connection_window_size": {"value": EDGE_CONNECTION_BYTES},
        }
    return {
        "request_headers_timeout": {"seconds": HEADERS_S},
        "max_request_headers_kb": {"value": HEADERS_KB},
        "common_http_protocol_options": {
            "idle_timeout": {"seconds": IDLE_S},
            "max_headers_count": {"value": HEADERS},
        },
        "http2_protocol_options": {"allow_connect": True, **http2},
        # Behind a sidecar every route says itself how long it may be idle. Whoever comes from outside and says nothing
        # keeps a stream as long as a connection, and shorter when memory is scarce (``against_overload``).
        "stream_idle_timeout": {"seconds": IDLE_S if edge else 0},
    }


def against_overload(it: Overload) -> Fields:
    """Envoy's defence of itself, as JSON values."""
    monitors = "envoy.resource_monitors."
    kinds = "type.googleapis.com/envoy.extensions.resource_monitors."
    connections = {
        "@type": kinds + "downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": it.connections,
    }
    # Envoy complains at every start when there is none.
    found: Fields = {
        "resource_monitors": [{"name": f"{monitors}global_downstream_max_connections", "typed_config": connections}]
    }  # fmt: skip
    if not it.heap_bytes:
        return found
    heap = {"@type": kinds + "fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes": it.heap_bytes}
    found["resource_monitors"].append({"name": f"{monitors}fixed_heap", "typed_config": heap})
    found["refresh_interval"] = "0.25s"
    found["actions"] = [
        _action("reduce_timeouts", {"scaled": {"scaling_threshold": 0.85, "saturation_threshold": 0.95}}, _TIMERS),
        _action("shrink_heap", {"threshold": {"value": 0.95}}),
        _action("stop_accepting_requests", {"threshold": {"value": 0.98}}),
    ]  # fmt: skip
    return found


#: Under pressure waiting gets shorter, down to these.
_TIMERS: Final = {
    "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
    "timer_scale_factors": [
        {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "2s"},
        {"timer": "HTTP_DOWNSTREAM_STREAM_IDLE", "min_timeout": "5s"},
        {"timer": "TRANSPORT_SOCKET_CONNECT", "min_timeout": "2s"},
    ],
}


def _action(name: str, trigger: Fields, config: Fields | None = None) -> Fields:
    made: Fields = {
        "name": f"envoy.overload_actions.{name}",
        "triggers": [{"name": "envoy.resource_monitors.fixed_heap", **trigger}],
    }
    return {**made, "typed_config": config} if config else made
