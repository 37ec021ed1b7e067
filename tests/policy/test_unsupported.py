"""What has no effect is told, and what has effect is not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lateen.api.decode import STORED
from lateen.names.problems import Severity
from lateen.policy.unsupported import in_document
from lateen.testing.mesh import service
from lateen.testing.objects import document


@pytest.mark.parametrize(("kind", "spec", "paths"), [
    ("VirtualService", "{hosts: [a], tls: [{match: [{sniHosts: [a]}], route: [{destination: {host: a}}]}]}", ["spec.tls[0]"]),
    ("VirtualService", "{hosts: [a], tcp: [{match: [{destinationSubnets: [10.0.0.0/8]}], route: [{destination: {host: a}}]}]}",
     ["spec.tcp[0].match[0].destinationSubnets"]),
    ("VirtualService", "{hosts: [a], http: [{timeout: 1s, route: [{destination: {host: a}}]}]}", []),
    ("VirtualService", "{hosts: [a], http: [{match: [{headers: {'@request.auth.claims.sub': {exact: x}}}], route: [{destination: {host: a}}]}]}",
     ["spec.http[0].match[0].headers"]),
    ("DestinationRule", "{host: a, workloadSelector: {matchLabels: {a: b}}}", ["spec.workloadSelector"]),
    ("DestinationRule", "{host: a, trafficPolicy: {tls: {mode: SIMPLE, credentialName: x}}}", ["spec.trafficPolicy.tls.credentialName"]),
    ("DestinationRule", "{host: a, trafficPolicy: {portLevelSettings: [{port: {number: 1}, loadBalancer: {localityLbSetting: {enabled: true}}}]}}",
     ["spec.trafficPolicy.portLevelSettings[0].loadBalancer.localityLbSetting"]),
    ("DestinationRule", "{host: a, trafficPolicy: {loadBalancer: {simple: RANDOM}, tls: {mode: ISTIO_MUTUAL}}}", []),
    ("Gateway", "{servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: x}}]}",
     ["spec.servers[0].port.protocol"]),
    ("Gateway", "{servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}", []),
    ("Gateway", "{servers: [{port: {number: 80, name: http, protocol: HTTP, targetPort: 81}, hosts: ['*'], defaultEndpoint: '127.0.0.1:80'}]}",
     ["spec.servers[0].defaultEndpoint", "spec.servers[0].port.targetPort"]),
    ("Unknown", "{}", []),
])  # fmt: skip
def test_what_has_no_effect_is_told(kind: str, spec: str, paths: list[str]) -> None:
    document: dict[str, Any] = {
        "apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "it", "namespace": "default"},
        "spec": yaml.safe_load(spec),
    }  # fmt: skip
    found = in_document(document)
    assert [it.path for it in found] == paths
    assert all(it.severity is Severity.WARNING for it in found)


@pytest.mark.parametrize(
    ("address", "paths"), [("fd00::1", ["spec.clusterIPs"]), ("10.96.0.1", []), ("None", [])]
)
def test_a_service_of_ipv6_alone_is_told(address: str, paths: list[str]) -> None:
    found = in_document(yaml.safe_load(service("x", {"http": 80}, address)))
    assert [it.path for it in found] == paths


@pytest.mark.finding("architecture 4")
@pytest.mark.parametrize(("name", "port", "paths"), [
    ("http", 15001, ["spec.ports[0].port"]), ("grpc-x", 15006, ["spec.ports[0].port"]), ("http2", 15090, ["spec.ports[0].port"]),
    ("tcp", 15001, []), ("any", 15021, []), ("http", 15002, []),
])  # fmt: skip
def test_an_http_port_on_which_every_proxy_listens_is_told(name: str, port: int, paths: list[str]) -> None:
    found = in_document(yaml.safe_load(service("x", {name: port})))
    assert [it.path for it in found] == paths


@pytest.mark.finding("newcomer D.2.13")
@pytest.mark.finding("mesh N1")
@pytest.mark.parametrize("kind", sorted(kind for _, kind in STORED))
def test_a_kind_that_is_stored_only_is_told_as_a_whole(kind: str) -> None:
    [found] = in_document(document(kind))
    assert (found.path, found.severity) == ("", Severity.WARNING)
    assert "has no effect" in found.message
    if kind in ("AuthorizationPolicy", "RequestAuthentication"):
        assert "requests are NOT restricted" in found.message
