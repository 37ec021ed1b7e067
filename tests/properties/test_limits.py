"""Every listener of every mesh has its limits: time and size of headers, streams, buffers; narrower where strangers call."""

from __future__ import annotations

import json
from collections.abc import Iterator

import envoy.extensions.filters.http.health_check.v3.health_check_pb2
import envoy.extensions.resource_monitors.downstream_connections.v3.downstream_connections_pb2
import envoy.extensions.resource_monitors.fixed_heap.v3.fixed_heap_pb2  # noqa: F401 - known by being imported
import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings

from lateen.compile.view import view
from lateen.envoy import limits, wellknown
from lateen.envoy.bootstrap import Node, bootstrap
from lateen.envoy.resource import LISTENER
from lateen.incremental import Change
from lateen.registry.facts import new_database
from lateen.testing.worlds import KEYS, PROXIES, batches


def managers(it: listener_pb2.Listener) -> Iterator[HttpConnectionManager]:
    for chain in (*it.filter_chains, it.default_filter_chain):
        for one in chain.filters:
            if one.typed_config.type_url.endswith(".HttpConnectionManager"):
                yield HttpConnectionManager.FromString(one.typed_config.value)


def missing(it: listener_pb2.Listener) -> Iterator[str]:
    """What is not bounded."""
    if not 0 < it.per_connection_buffer_limit_bytes.value <= 2**20:
        yield "buffers"
    for one in managers(it):
        common, http2 = one.common_http_protocol_options, one.http2_protocol_options
        checks = {
            "time for headers": 0 < one.request_headers_timeout.ToSeconds() <= 10,
            "size of headers": 0 < one.max_request_headers_kb.value <= 60,
            "number of headers": 0 < common.max_headers_count.value <= 100,
            "idle connections": 0 < common.idle_timeout.ToSeconds() <= 3600,
            "streams of a connection": 0 < http2.max_concurrent_streams.value <= 1024,
            "normal paths": one.normalize_path.value,
        }
        if one.use_remote_address.value:  # the edge
            checks |= {
                "idle streams": 0 < one.stream_idle_timeout.ToSeconds() <= 3600,
                "streams of strangers": http2.max_concurrent_streams.value <= 100,
                "windows of strangers": 0 < http2.initial_stream_window_size.value <= 65536,
                "window of a stranger": 0 < http2.initial_connection_window_size.value <= 2**20,
            }
        yield from (f"{what} ({one.stat_prefix})" for what, holds in checks.items() if not holds)


@pytest.mark.finding("security 20")
@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
@given(batches)
def test_each_listener_of_any_mesh_has_its_limits(changes: list[Change]) -> None:
    db = new_database()
    db.apply([*PROXIES, *changes])
    for key in KEYS:
        for name, it in view(db, key)[LISTENER].items():
            assert [(name, what) for what in missing(listener_pb2.Listener.FromString(it.body))] == []


@pytest.mark.finding("security 20")
def test_the_listeners_that_an_envoy_starts_with_have_theirs() -> None:
    edge = limits.Overload(limits.EDGE_CONNECTIONS, limits.EDGE_HEAP_BYTES)
    text = json.dumps(bootstrap(Node("router~10.0.0.1~x.y~z", "x.y"), overload=edge))
    found = json_format.Parse(text, bootstrap_pb2.Bootstrap())
    assert {it.address.socket_address.port_value for it in found.static_resources.listeners} == {
        wellknown.READY_PORT,
        wellknown.STATS_PORT,
    }
    for it in found.static_resources.listeners:
        assert list(missing(it)) == []
    monitors = {it.name.rpartition(".")[2] for it in found.overload_manager.resource_monitors}
    assert monitors == {"global_downstream_max_connections", "fixed_heap"}
    actions = {it.name.rpartition(".")[2] for it in found.overload_manager.actions}
    assert actions == {"reduce_timeouts", "shrink_heap", "stop_accepting_requests"}
