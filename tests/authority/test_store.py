"""Where the CA's key comes from: its own Secret, or one that is plugged in."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.authority.store import OWN, PLUGGED_IN, load_or_create
from lateen.authority.tokens import AUDIENCE, Caller, NotAuthenticatedError, of_status
from lateen.pki.authority import RefusedError
from lateen.pki.certificates import Issuer, key_pem, pem, self_signed

NOW = datetime.now(UTC)


def secret(name: str, kind: str = "Opaque", **parts: bytes) -> dict[str, Any]:
    data = {
        key.replace("__", ".").replace("_", "-"): base64.b64encode(it).decode() for key, it in parts.items()
    }
    meta = {"name": name, "namespace": "istio-system"}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": meta, "data": data}


def root_ca() -> Issuer:
    return self_signed(
        ec.generate_private_key(ec.SECP256R1()), "root", serial=1, now=NOW, ttl=timedelta(days=3650)
    )


def intermediate(above: Issuer, name: str) -> Issuer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(above.certificate.subject).public_key(key.public_key())
        .serial_number(2).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=100))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(above.key, hashes.SHA256())  # type: ignore[arg-type]
    )  # fmt: skip
    return Issuer(made, key)


async def test_a_root_is_made_once_and_found_again(api_server: Any) -> None:
    async with api_server.client() as client:
        first = await load_or_create(client, "istio-system", trust_domain="td")
        assert (first.source, first.issuer.chain) == (OWN, ())
        assert "td" in first.issuer.certificate.subject.rfc4514_string()
        again = await load_or_create(client, "istio-system", trust_domain="other")
        assert again.root_pem == first.root_pem
        kept = await client.get(f"/api/v1/namespaces/istio-system/secrets/{OWN}")
        assert set(kept["data"]) >= {"ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"}


async def test_replicas_that_start_together_have_one_root(api_server: Any) -> None:
    async with api_server.client() as client:
        made = await asyncio.gather(
            *(load_or_create(client, "istio-system", trust_domain="td") for _ in range(8))
        )
        assert len({it.root_pem for it in made}) == 1


async def test_a_plugged_in_ca_comes_first_and_its_chain_is_sent_in_order(api_server: Any) -> None:
    root, other = root_ca(), root_ca()
    middle = intermediate(root, "middle")
    low = intermediate(middle, "low")
    # cert-chain as Istio's tools write it, or any mixture: order and extras do not matter.
    chain = pem(root.certificate, other.certificate, middle.certificate, low.certificate)
    async with api_server.client() as client:
        await load_or_create(client, "istio-system", trust_domain="td")
        await client.create(secret(
            PLUGGED_IN, ca_cert__pem=pem(low.certificate), ca_key__pem=key_pem(low.key), cert_chain__pem=chain,
            root_cert__pem=pem(root.certificate),
        ))  # fmt: skip
        found = await load_or_create(client, "istio-system", trust_domain="td")
    assert found.source == PLUGGED_IN
    assert found.issuer.chain == (low.certificate, middle.certificate)
    assert found.root_pem == pem(root.certificate)


async def test_cert_managers_names_are_read_too(api_server: Any) -> None:
    root = root_ca()
    low = intermediate(root, "low")
    async with api_server.client() as client:
        await client.create(secret(
            PLUGGED_IN, "kubernetes.io/tls", tls__crt=pem(low.certificate), tls__key=key_pem(low.key),
            ca__crt=pem(root.certificate),
        ))  # fmt: skip
        found = await load_or_create(client, "istio-system", trust_domain="td")
    assert (found.issuer.chain, found.root_pem) == ((low.certificate,), pem(root.certificate))


@pytest.mark.parametrize("fault", ["no parts", "foreign root", "foreign key"])
async def test_a_plugged_in_ca_that_cannot_work_is_refused_by_name(api_server: Any, fault: str) -> None:
    root = root_ca()
    low = intermediate(root, "low")
    parts = {
        "ca_cert__pem": pem(low.certificate), "ca_key__pem": key_pem(low.key), "root_cert__pem": pem(root.certificate),
    }  # fmt: skip
    if fault == "no parts":
        parts = {}
    elif fault == "foreign root":
        parts["root_cert__pem"] = pem(root_ca().certificate)
    else:
        parts["ca_key__pem"] = key_pem(root.key)
    async with api_server.client() as client:
        await client.create(secret(PLUGGED_IN, **parts))
        with pytest.raises(RefusedError, match="Secret cacerts: "):
            await load_or_create(client, "istio-system", trust_domain="td")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, "not valid"),
        ({"authenticated": False, "error": "expired"}, "expired"),
        ({"authenticated": True, "user": {"username": "system:serviceaccount:a:b"}}, "audience"),
        ({"authenticated": True, "audiences": ["other"], "user": {"username": "system:serviceaccount:a:b"}}, "audience"),
        ({"authenticated": True, "audiences": [AUDIENCE], "user": {"username": "admin"}}, "service account"),
        ({"authenticated": True, "audiences": [AUDIENCE], "user": {"username": "system:serviceaccount:a"}}, "service account"),
        ({"authenticated": True, "audiences": [AUDIENCE], "user": {"username": "x-system:serviceaccount:a:b"}}, "service account"),
    ],
)  # fmt: skip
def test_a_review_that_names_none_of_ours_is_refused(status: dict[str, Any], said: str) -> None:
    with pytest.raises(NotAuthenticatedError, match=said):
        of_status(status)


def test_a_review_names_account_and_pod() -> None:
    user = {
        "username": "system:serviceaccount:a:b", "extra": {"authentication.kubernetes.io/pod-name": ["b-1"]},
    }  # fmt: skip
    assert of_status({"authenticated": True, "audiences": [AUDIENCE], "user": user}) == Caller(
        "a", "b", "b-1"
    )
