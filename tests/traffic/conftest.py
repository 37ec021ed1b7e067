"""One mesh for all tests of traffic: two namespaces, a service in two versions, what is not in the mesh, and a gateway."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.pki.certificates import key_pem, leaf, pem, self_signed
from lateen.testing.applications import BANNER, ECHO, GRPC, HTTP
from lateen.testing.mesh import endpoint_slice
from lateen.testing.traffic import Pod, TrafficMesh

#: name of the service's port -> (its number, the container's)
WEB = {
    "http": (80, HTTP),
    "grpc": (9090, GRPC),
    "tcp": (9000, ECHO),
    "any": (7000, HTTP),
    "bytes": (7001, ECHO),
    "banner": (7002, BANNER),
}
TARGETS = {name: target for name, (_, target) in WEB.items()}


def service(
    name: str,
    address: str,
    selector: dict[str, str],
    ports: dict[str, tuple[int, int]],
    namespace: str = "default",
) -> str:
    return yaml.safe_dump({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": address, "selector": selector, "ports": [
            {"name": port, "port": number, "targetPort": target} for port, (number, target) in ports.items()
        ]},
    })  # fmt: skip


OBJECTS = [
    service("web", "10.96.0.10", {"app": "web"}, WEB),
    endpoint_slice("web", TARGETS, ("web-1", "10.244.1.1"), ("web-2", "10.244.1.2")),
    service("other", "10.96.0.11", {"app": "other"}, {"http": (80, HTTP)}),
    endpoint_slice("other", {"http": HTTP}, ("other-1", "10.244.1.3")),
    service("legacy", "10.96.0.12", {"app": "legacy"}, WEB),
    endpoint_slice("legacy", TARGETS, ("legacy-1", "10.244.2.1")),
    service("mixed", "10.96.0.13", {"tier": "mixed"}, {"http": (80, HTTP), "tcp": (9000, ECHO)}),
    endpoint_slice("mixed", {"http": HTTP, "tcp": ECHO}, ("web-1", "10.244.1.1"), ("legacy-1", "10.244.2.1")),
    service("nodes", "None", {"app": "web"}, {"http": (8080, HTTP), "tcp": (9000, ECHO)}),
    endpoint_slice("nodes", {"http": HTTP, "tcp": ECHO}, ("web-1", "10.244.1.1"), ("web-2", "10.244.1.2")),
    service("gateway", "10.96.0.20", {"istio": "ingressgateway"}, {"http2": (80, 8080), "https": (443, 8443)}, "istio-system"),
    """
    apiVersion: v1
    kind: Service
    metadata: {name: elsewhere, namespace: default}
    spec: {type: ExternalName, externalName: outside.example, ports: [{name: http, port: 8080}]}
    """,
]  # fmt: skip


@pytest.fixture(scope="session")
def mesh(
    tmp_path_factory: pytest.TempPathFactory, outside_tls: ssl.SSLContext, outside_files: dict[str, bytes]
) -> Iterator[TrafficMesh]:
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces: run as root to test this")
    made = TrafficMesh(tmp_path_factory.mktemp("mesh"))
    try:
        made.outside = {"outside.example": "203.0.113.10"}
        made.pod("client", "10.244.0.10", {"app": "client", "version": "v1"})
        made.pod("guest", "10.244.0.11", {"app": "guest"}, namespace="blog")
        made.pod("plain", "10.244.0.12", {"app": "plain"}, sidecar=False)
        made.pod("web-1", "10.244.1.1", {"app": "web", "version": "v1", "tier": "mixed"})
        made.pod("web-2", "10.244.1.2", {"app": "web", "version": "v2"})
        made.pod("other-1", "10.244.1.3", {"app": "other", "version": "v1"})
        made.pod("legacy-1", "10.244.2.1", {"app": "legacy", "tier": "mixed"}, sidecar=False)
        made.pod(
            "gateway-1",
            "10.244.0.20",
            {"istio": "ingressgateway"},
            namespace="istio-system",
            kind="router",
            account="gateway",
        )
        made.pod("outside", "203.0.113.10", {}, sidecar=False, known=False, tls=outside_tls)
        for envoy in filter(None, (it.envoy for it in made.pods.values())):
            for name, content in outside_files.items():
                (envoy.folder / name).write_bytes(content)
                os.chown(envoy.folder / name, 1337, 1337)
        made.apply(*OBJECTS)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def outside_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An authority outside of the mesh, with a server's and a client's certificate."""
    now, day = datetime.now(UTC), timedelta(days=1)
    issuer = self_signed(ec.generate_private_key(ec.SECP256R1()), "outside", serial=1, now=now, ttl=day)
    found = {"outside-ca.pem": pem(issuer.certificate)}
    for serial, (who, name) in enumerate((("server", "outside.example"), ("client", "client.example")), 2):
        key = ec.generate_private_key(ec.SECP256R1())
        made = leaf(issuer, key.public_key(), [x509.DNSName(name)], serial=serial, now=now, ttl=day)
        found |= {f"outside-{who}.pem": pem(made), f"outside-{who}.key": key_pem(key)}
    return found


@pytest.fixture(scope="session")
def outside_tls(outside_files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("outside")
    for name, content in outside_files.items():
        (folder / name).write_bytes(content)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "outside-server.pem", folder / "outside-server.key")
    made.load_verify_locations(folder / "outside-ca.pem")
    made.verify_mode = ssl.CERT_OPTIONAL
    # It would rather take any word that is meant for sidecars, so that a test sees when one is offered.
    made.set_alpn_protocols(["istio-http/1.1", "istio-h2", "istio", "istio-peer-exchange", "http/1.1"])
    return made


@pytest.fixture
def client(mesh: TrafficMesh) -> Pod:
    return mesh.pods["client"]


@pytest.fixture
def guest(mesh: TrafficMesh) -> Pod:
    return mesh.pods["guest"]


@pytest.fixture
def plain(mesh: TrafficMesh) -> Pod:
    return mesh.pods["plain"]
