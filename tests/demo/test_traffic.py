"""Flows computed from metric pages."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from lateen.demo import traffic
from skiff.kinds import PODS

if TYPE_CHECKING:
    from conftest import ApiServer

PAGE = """
istio_requests_total{reporter="destination",source_workload="frontend",destination_workload="cart",destination_version="v1",response_code="200",grpc_response_status="0",connection_security_policy="mutual_tls"} 8
istio_requests_total{reporter="destination",source_workload="frontend",destination_workload="cart",destination_version="v1",response_code="503",connection_security_policy="none"} 2
istio_request_duration_milliseconds_bucket{reporter="destination",source_workload="frontend",destination_workload="cart",destination_version="v1",le="10"} 5
istio_request_duration_milliseconds_bucket{reporter="destination",source_workload="frontend",destination_workload="cart",destination_version="v1",le="20"} 10
istio_request_duration_milliseconds_bucket{reporter="destination",source_workload="frontend",destination_workload="cart",destination_version="v1",le="+Inf"} 10
istio_requests_total{reporter="source",source_workload="frontend",destination_workload="cart",response_code="200"} 99
"""
EDGE = traffic.Edge("frontend", "cart", "v1")


def test_an_edge_counts_requests_failures_and_mutual_tls_of_one_side() -> None:
    flow = traffic.flows([PAGE])[EDGE]
    assert (flow.requests, flow.failures, flow.mutual_tls) == (10, 2, 8)
    assert flow.quantile_ms(0.5) == 10
    assert flow.quantile_ms(0.75) == 15


def test_a_difference_leaves_out_what_did_not_move() -> None:
    now, before = traffic.flows([PAGE, PAGE]), traffic.flows([PAGE])
    assert traffic.difference(now, before)[EDGE].requests == 10
    assert traffic.difference(before, before) == {}
    assert traffic.total(now).failures == 4


@pytest.mark.finding("issue 7 part 7")
async def test_a_pod_that_went_since_it_was_listed_is_left_out(
    api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lateen.kube.client._FIRST_WAIT_S", 0.01)
    metadata = {"name": "gone", "namespace": "default", "annotations": {"sidecar.istio.io/status": "{}"}}
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    created = await api_server.registry.create(PODS, "default", pod)
    await api_server.registry.update(
        PODS, "default", "gone", {**created, "status": {"phase": "Running"}}, subresource="status"
    )
    with socket.socket() as closed:  # nobody listens there
        closed.bind(("127.0.0.1", 0))
        api_server.node.ports["default", "gone", 15020] = closed.getsockname()[1]
        async with api_server.client() as client:  # type: ignore[attr-defined]
            assert await traffic.pages(client, ["default"]) == [""]
