"""What does the CA sign, for whom, and for how long? Decisions only: callers bring the clock and the randomness."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from lateen.names.identity import Identity
from lateen.pki.certificates import Issuer, leaf, pem

DEFAULT_TTL = timedelta(hours=24)
MAX_TTL = timedelta(days=90)
ROOT_TTL = timedelta(days=3650)
#: What Envoy's TLS library can verify.
CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})


class RefusedError(ValueError):
    """A request that is not signed, or a CA that cannot sign; the message says why."""


def signed(
    issuer: Issuer,
    csr_pem: bytes,
    identity: Identity,
    description: str,
    *,
    ttl: timedelta | None,
    serial: int,
    now: datetime,
) -> tuple[bytes, ...]:
    """The chain for a workload, leaf first, without the root.

    Only the public key is taken from the request: the names are those the caller has proven
    (Istio's CA ignores the names of a CSR in the same way).
    """
    key = _key(csr_pem)
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise RefusedError(
            f"a key of kind {type(key).__name__} is not accepted: use EC P-256 or RSA of 2048 bits or more"
        )
    if isinstance(key, rsa.RSAPublicKey) and not 2048 <= key.key_size <= 8192:
        raise RefusedError(
            f"an RSA key of {key.key_size} bits is too {'short' if key.key_size < 2048 else 'long'}: "
            "use 2048 to 8192, or EC P-256"
        )
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in CURVES:
        raise RefusedError(f"the curve {key.curve.name} is not accepted: use P-256, P-384 or P-521")
    if issuer.certificate.not_valid_after_utc <= now:
        raise RefusedError(
            f"the CA's certificate ended at {issuer.certificate.not_valid_after_utc}: rotate it"
        )
    wanted = min(ttl, MAX_TTL) if ttl and ttl > timedelta() else DEFAULT_TTL
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(identity))]
    made = leaf(issuer, key, names, description=description, serial=serial, now=now, ttl=wanted)
    return tuple(pem(it) for it in (made, *issuer.chain))


def _key(csr_pem: bytes) -> CertificatePublicKeyTypes:
    """The key that a request is for, and that has signed it."""
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key, valid = request.public_key(), request.is_signature_valid
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as wrong:
        raise RefusedError(f"this is no certificate signing request that can be read: {wrong}") from wrong
    if not valid:
        raise RefusedError("the request is not signed by the key it is for")
    return key


def loaded(certificate_pem: bytes, private_key_pem: bytes, chain_pem: bytes, root_pem: bytes) -> Issuer:
    """An issuer from the parts of a Secret: ``ca-cert``, ``ca-key``, ``cert-chain``, ``root-cert``. Checks that they fit."""
    try:
        certificate = x509.load_pem_x509_certificates(certificate_pem)[0]
        key = serialization.load_pem_private_key(private_key_pem, None)
        roots = x509.load_pem_x509_certificates(root_pem)
        chain = x509.load_pem_x509_certificates(chain_pem) if chain_pem.strip() else []
    except (ValueError, IndexError, TypeError, UnsupportedAlgorithm) as wrong:
        raise RefusedError(f"the CA's files cannot be read: {wrong}") from wrong
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise RefusedError(
            f"the CA's key is of kind {type(key).__name__}: use EC or RSA, which every proxy can verify"
        )
    if key.public_key() != certificate.public_key():
        raise RefusedError("ca-key.pem is not the key of ca-cert.pem")
    if not _is_authority(certificate):
        raise RefusedError("ca-cert.pem is not a CA's certificate (basicConstraints CA:TRUE is missing)")
    return Issuer(certificate, key, _path(certificate, chain, roots))


def _path(
    certificate: x509.Certificate, chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """From the CA up to, and without, the root. cert-chain may hold more, in any order, as Istio's tools write it."""
    found: list[x509.Certificate] = []
    while certificate not in roots:
        found.append(certificate)
        above = [it for it in (*roots, *chain) if it not in found and _issued(certificate, it)]
        if not above:
            raise RefusedError(
                f'no certificate of cert-chain.pem or root-cert.pem signed "{certificate.subject.rfc4514_string()}"'
            )
        certificate = above[0]
    return tuple(found)


def _issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
