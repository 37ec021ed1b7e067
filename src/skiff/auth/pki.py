"""Which certificates does the cluster stand on? Its CA, the API server's certificate, clients' and the tokens' key."""

from __future__ import annotations

import ipaddress
import os
import ssl
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CA_DAYS, _SERVER_DAYS = 3650, 365
_BACKDATE = timedelta(minutes=5)
_PURPOSES = {"client auth": ExtendedKeyUsageOID.CLIENT_AUTH, "server auth": ExtendedKeyUsageOID.SERVER_AUTH}


class ClusterPki:
    """Made once, kept in the cluster's folder."""

    def __init__(
        self,
        ca: x509.Certificate,
        ca_key: ec.EllipticCurvePrivateKey,
        account_key: ec.EllipticCurvePrivateKey,
    ) -> None:
        self._ca, self._ca_key, self.service_account_key = ca, ca_key, account_key
        self.ca_pem: bytes = ca.public_bytes(serialization.Encoding.PEM)

    @classmethod
    def load_or_create(cls, directory: Path) -> ClusterPki:
        """From the folder; keys are readable by the owner only."""
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        certificate = directory / "ca.crt"
        if not certificate.exists():
            _make(directory)
        ca = x509.load_pem_x509_certificate(certificate.read_bytes())
        return cls(ca, _key(directory / "ca.key"), _key(directory / "sa.key"))

    def server_context(self, names: Sequence[str]) -> ssl.SSLContext:
        """TLS for the API server under these names; client certificates of the CA are looked at, not demanded."""
        chain, key = self._leaf("kube-apiserver", [], names, _SERVER_DAYS, ExtendedKeyUsageOID.SERVER_AUTH)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=self.ca_pem.decode())
        with tempfile.NamedTemporaryFile() as file:  # ssl reads keys from files only
            file.write(chain + key)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def client_certificate(self, user: str, groups: Sequence[str], *, days: int = 365) -> tuple[bytes, bytes]:
        """(certificate, key) as PEM: who has them is that user in those groups."""
        return self._leaf(user, groups, [], days, ExtendedKeyUsageOID.CLIENT_AUTH)

    def sign(self, request: x509.CertificateSigningRequest, usages: Iterable[str], lasts: timedelta) -> bytes:
        """A certificate for the request's key and names, as PEM. What it may be used for is the caller's word."""
        wanted = frozenset(usages)
        builder = _builder(request.subject, self._ca.subject, request.public_key(), lasts)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        usage = x509.KeyUsage(
            digital_signature="digital signature" in wanted, key_encipherment="key encipherment" in wanted,
            content_commitment=False, data_encipherment=False, key_agreement=False, key_cert_sign=False, crl_sign=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        if "digital signature" in wanted or "key encipherment" in wanted:
            builder = builder.add_extension(usage, critical=True)
        purposes = [it for word, it in _PURPOSES.items() if word in wanted]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        for it in request.extensions:
            if isinstance(it.value, x509.SubjectAlternativeName):
                builder = builder.add_extension(it.value, critical=it.critical)
        return builder.sign(self._ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _leaf(
        self,
        common: str,
        groups: Sequence[str],
        names: Sequence[str],
        days: int,
        usage: x509.ObjectIdentifier,
    ) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, it) for it in groups]
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, common))
        lasts = timedelta(days=days)
        builder = _builder(x509.Name(subject), self._ca.subject, key.public_key(), lasts).add_extension(
            x509.BasicConstraints(ca=False, path_length=None), critical=True
        )
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_name(it) for it in names]), critical=False
            )
        made = builder.sign(self._ca_key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM), _pem(key)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, lasts: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + lasts)
    )


def _make(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "skiff")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    made = (
        _builder(name, name, key.public_key(), timedelta(days=_CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(directory / "ca.key", _pem(key))
    _write(directory / "sa.key", _pem(ec.generate_private_key(ec.SECP256R1())))
    _write(
        directory / "ca.crt", made.public_bytes(serialization.Encoding.PEM)
    )  # last: its presence means all are there


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, whatever ends us: a piece of a certificate would keep every later daemon from starting."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    found = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(found, ec.EllipticCurvePrivateKey), f"{path} was not made by skiff"
    return found
