"""Callers who come past their own proxy: with a certificate of the mesh, and with words of somebody else in their headers."""

from __future__ import annotations

import secrets
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.pki.certificates import key_pem, leaf, pem
from lateen.testing import clients, rude
from lateen.testing.traffic import Pod, TrafficMesh

FORGED = "By=spoof;URI=spiffe://cluster.local/ns/x/sa/admin"


def tls_as(mesh: TrafficMesh, folder: Path, uri: str) -> ssl.SSLContext:
    """A client's TLS with a certificate of the mesh, as any program in a pod can speak it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    issuer = mesh.authority.issuer
    own = leaf(
        issuer, key.public_key(), [x509.UniformResourceIdentifier(uri)], serial=secrets.randbits(127) | 1, now=now,
        ttl=timedelta(hours=1),
    )  # fmt: skip
    (folder / "pair.pem").write_bytes(pem(own, *issuer.chain) + key_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(folder / "pair.pem")
    context.set_alpn_protocols(["istio-http/1.1"])
    return context


def heard(mesh: TrafficMesh, plain: Pod, folder: Path, uri: str) -> Any:
    """What web-1's application is told of who calls."""
    made = plain.network.call(lambda: socket.create_connection(("10.244.1.1", 8080), 5))
    connection = clients.http_connection(tls_as(mesh, folder, uri).wrap_socket(made))
    try:
        headers = [("host", "web"), ("x-forwarded-client-cert", FORGED)]
        answer = clients.request(connection, "GET", "/", headers)
    finally:
        connection.close()
    assert answer.status == 200
    return answer.said["headers"]["x-forwarded-client-cert"]


@pytest.mark.finding("security 13")
@pytest.mark.parametrize("account", ["gamma/sa/attacker", "istio-system-2/sa/x", "x/sa/istio-system"])
def test_what_a_caller_says_of_others_is_removed(
    mesh: TrafficMesh, plain: Pod, tmp_path: Path, account: str
) -> None:
    uri = f"spiffe://cluster.local/ns/{account}"
    found = heard(mesh, plain, tmp_path, uri)
    assert "admin" not in found
    assert found.count("URI=") == 1
    assert f"URI={uri}" in found


@pytest.mark.finding("security 13")
def test_a_gateway_of_the_root_namespace_tells_whom_it_has_seen(
    mesh: TrafficMesh, plain: Pod, tmp_path: Path
) -> None:
    uri = "spiffe://cluster.local/ns/istio-system/sa/gateway"
    first, second = heard(mesh, plain, tmp_path, uri).split(",", 1)
    assert first == FORGED
    assert f"URI={uri}" in second


GATEWAY = """
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: open, namespace: istio-system}, spec: {
  selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}}
"""


@pytest.mark.finding("security 20")
@pytest.mark.parametrize("address", ["10.244.0.20", "10.244.1.1"])
def test_who_does_not_finish_asking_is_let_go(mesh: TrafficMesh, plain: Pod, address: str) -> None:
    """At a gateway and at a sidecar alike."""

    def connect() -> socket.socket:
        return plain.network.call(lambda: socket.create_connection((address, 8080), 5))

    with mesh.having(GATEWAY):
        assert rude.status(connect, "/", headers=["a: " + "x" * 65536]) == 431
        assert rude.status(connect, "/", headers=[f"a{at}: x" for at in range(101)]) == 431
        assert rude.said(connect, rude.HALF, timeout_s=30.0).startswith(b"HTTP/1.1 408")
