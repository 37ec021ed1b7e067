"""What a proxy says of itself, and what of it counts."""

from __future__ import annotations

from typing import Any

import pytest

from lateen.api.proxy_config import ForwardClientCertDetails, ProxyProtocol, Topology
from lateen.discovery.introduction import proxy
from lateen.envoy.codec import Introduction

TOPOLOGIES: list[tuple[Any, Topology | None]] = [
    ({"gatewayTopology": {"numTrustedProxies": 2.0}}, Topology(num_trusted_proxies=2)),
    ({"gatewayTopology": {"proxyProtocol": {}}}, Topology(proxy_protocol=ProxyProtocol())),
    (
        {"gatewayTopology": {"forwardClientCertDetails": "SANITIZE"}},
        Topology(forward_client_cert_details=ForwardClientCertDetails.SANITIZE),
    ),
    ({"gatewayTopology": {}}, Topology()),
    ({"concurrency": 2.0}, None),
    ({}, None),
    (None, None),
    ("text", None),
    ({"gatewayTopology": [1.0]}, None),
    ({"gatewayTopology": {"numTrustedProxies": -1.0, "other": 1.0}}, Topology()),
    ({"gatewayTopology": {"numTrustedProxies": float("inf")}}, Topology()),
    ({"gatewayTopology": {"numTrustedProxies": 1e300, "proxyProtocol": 1.0}}, Topology()),
]


@pytest.mark.finding("mesh M3")
@pytest.mark.parametrize(("config", "topology"), TOPOLOGIES)
def test_what_stands_before_a_gateway(config: Any, topology: Topology | None) -> None:
    node = Introduction("router~10.0.0.1~gw.ns~x", "", {"PROXY_CONFIG": config}, ("", "", ""), "")
    assert proxy(node).topology == topology
