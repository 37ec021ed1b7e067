"""The CA: whom it signs for, and whom it refuses."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import verification

from lateen.names.identity import Identity
from lateen.pki import authority, rotation
from lateen.pki.certificates import DESCRIPTION, Issuer, key_pem, pem, self_signed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WHO = Identity("cluster.local", "default", "reviews")


@pytest.fixture(scope="module")
def root() -> Issuer:
    return self_signed(
        ec.generate_private_key(ec.SECP256R1()), "cluster.local", serial=1, now=NOW, ttl=authority.ROOT_TTL
    )


def csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    lies = x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier("spiffe://cluster.local/ns/kube-system/sa/admin")]
    )
    made = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(lies, critical=False)
    )
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def sign(root: Issuer, request: bytes, ttl: timedelta | None = None, now: datetime = NOW) -> x509.Certificate:
    [one, *_] = authority.signed(
        root, request, WHO, "reviews-v1|default|reviews|v1|Kubernetes", ttl=ttl, serial=7, now=now
    )
    return x509.load_pem_x509_certificate(one)


def test_the_names_are_those_that_were_proven_not_those_of_the_request(root: Issuer) -> None:
    made = sign(root, csr(ec.generate_private_key(ec.SECP256R1())))
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [str(WHO)]
    assert (
        made.subject.get_attributes_for_oid(DESCRIPTION)[0].value
        == "reviews-v1|default|reviews|v1|Kubernetes"
    )
    assert made.not_valid_after_utc == NOW + timedelta(hours=24)
    made.verify_directly_issued_by(root.certificate)


def test_a_leaf_passes_the_verification_of_a_strict_library(root: Issuer) -> None:
    made = sign(root, csr(ec.generate_private_key(ec.SECP256R1())))
    policy = (
        verification.PolicyBuilder()
        .store(verification.Store([root.certificate]))
        .time(NOW + timedelta(hours=1))
    )
    assert policy.build_client_verifier().verify(made, []).subjects


def test_time_to_live_is_capped_by_the_limit_and_by_the_issuer(root: Issuer) -> None:
    request = csr(ec.generate_private_key(ec.SECP256R1()))
    assert sign(root, request, timedelta(days=1000)).not_valid_after_utc == NOW + authority.MAX_TTL
    late = NOW + authority.ROOT_TTL - timedelta(hours=1)
    assert sign(root, request, now=late).not_valid_after_utc == NOW + authority.ROOT_TTL


@pytest.mark.parametrize(
    "request_",
    [b"", b"nonsense", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"],
)
def test_what_is_no_request_is_refused(root: Issuer, request_: bytes) -> None:
    with pytest.raises(authority.RefusedError, match="no certificate signing request"):
        sign(root, request_)


def test_a_curve_that_nobody_knows_is_refused(root: Issuer) -> None:
    p256, other = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030163")
    _, request, _ = csr(ec.generate_private_key(ec.SECP256R1())).split(b"-----\n")[:3]
    raw = base64.b64decode(request.partition(b"-----")[0]).replace(p256, other)
    words = [
        b"-----BEGIN CERTIFICATE REQUEST-----\n",
        base64.encodebytes(raw),
        b"-----END CERTIFICATE REQUEST-----\n",
    ]
    with pytest.raises(authority.RefusedError, match=r"Curve .* is not supported"):
        sign(root, b"".join(words))


def test_a_short_key_is_refused(root: Issuer) -> None:
    with pytest.raises(authority.RefusedError, match="1024 bits is too short"):
        sign(root, csr(rsa.generate_private_key(65537, 1024)))


def test_plugged_in_files_must_fit(root: Issuer) -> None:
    other = key_pem(ec.generate_private_key(ec.SECP256R1()))
    certificate = pem(root.certificate)
    assert authority.loaded(certificate, key_pem(root.key), b"", certificate).chain == (), (
        "a root is not sent"
    )
    with pytest.raises(authority.RefusedError, match="is not the key of"):
        authority.loaded(certificate, other, b"", certificate)
    leaf = authority.signed(
        root, csr(key := ec.generate_private_key(ec.SECP256R1())), WHO, "", ttl=None, serial=3, now=NOW
    )[0]
    with pytest.raises(authority.RefusedError, match="not a CA's certificate"):
        authority.loaded(leaf, key_pem(key), b"", certificate)


def test_renewal_is_spread_and_never_in_the_past() -> None:
    after = NOW + timedelta(hours=10)
    assert rotation.renewal(NOW, after, NOW, 0.0) == NOW + timedelta(hours=5)
    assert rotation.renewal(NOW, after, NOW, 1.0) == NOW + timedelta(hours=8)
    assert rotation.renewal(NOW, after, after, 0.5) == after
    assert [rotation.retry(n, 1.0).total_seconds() for n in (1, 2, 3, 20)] == [1, 2, 4, 60]
