"""What does a certificate say? Making and reading X.509, without files, clock or chance: all of them are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Where the workload's description lies in a leaf's subject (dataplane: metadata travels in the certificate).
DESCRIPTION = NameOID.DESCRIPTION if hasattr(NameOID, "DESCRIPTION") else x509.ObjectIdentifier("2.5.4.13")

#: Clocks of a cluster differ a little; a certificate is valid from a moment before it was made.
BACKDATE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Issuer:
    """What signs: a key, its certificate, and the chain from it up to (without) the root."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes
    chain: tuple[x509.Certificate, ...] = ()


def self_signed(
    key: ec.EllipticCurvePrivateKey, organization: str, *, serial: int, now: datetime, ttl: timedelta
) -> Issuer:
    """A root."""
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)])
    made = (
        _builder(name, name, key.public_key(), serial, now, ttl)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Issuer(made, key)


def leaf(
    issuer: Issuer, public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, names: list[x509.GeneralName],
    *, description: str = "", serial: int, now: datetime, ttl: timedelta,
) -> x509.Certificate:  # fmt: skip
    """A certificate for server and client use. It never outlives its issuer."""
    subject = x509.Name([x509.NameAttribute(DESCRIPTION, description)] if description else [])
    ttl = min(ttl, issuer.certificate.not_valid_after_utc - now)
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return (
        _builder(subject, issuer.certificate.subject, public_key, serial, now, ttl)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(both, critical=False)
        # RFC 5280: the alternative name is critical when the subject is empty.
        .add_extension(x509.SubjectAlternativeName(names), critical=not description)
        .add_extension(_authority_key(issuer.certificate), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, serial: int,
    now: datetime, ttl: timedelta,
) -> x509.CertificateBuilder:  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + ttl)
    )


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        known = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        public = issuer.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates, key_encipherment=not sign_certificates, key_cert_sign=sign_certificates,
        crl_sign=sign_certificates, content_commitment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates as PEM, in this order."""
    return b"".join(it.public_bytes(serialization.Encoding.PEM) for it in certificates)


def key_pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """A private key as unencrypted PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip
