"""Which certificates does an Envoy use, and until when? Reads the secrets of a config dump."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from lateen.cli.envoy_dump import Config, secrets

SECRET_COLUMNS = (
    "RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE", "TRUST DOMAIN",
)  # fmt: skip


def secret_rows(config: Config, now: datetime | None = None) -> list[tuple[str, ...]]:
    """A line for each certificate of each secret."""
    moment = now or datetime.now(UTC)
    return sorted({row for it in secrets(config) for row in _rows(it, moment)})


def _rows(entry: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, ...]]:
    secret = entry.get("secret", {})
    name, state = str(entry.get("name") or secret.get("name", "")), str(entry["state"])
    if chain := _pem(secret.get("tls_certificate", {}).get("certificate_chain", {})):
        for number, certificate in enumerate(x509.load_pem_x509_certificates(chain)):
            yield (name, "Cert Chain" if number == 0 else "Intermediate", state, *_facts(certificate, now))
    if trusted := _pem(secret.get("validation_context", {}).get("trusted_ca", {})):
        for certificate in x509.load_pem_x509_certificates(trusted):
            yield (name, "CA", state, *_facts(certificate, now))


def _pem(source: Mapping[str, Any]) -> bytes:
    if "inline_bytes" in source:
        return base64.b64decode(source["inline_bytes"])
    return str(source.get("inline_string", "")).encode()


def _facts(certificate: x509.Certificate, now: datetime) -> tuple[str, str, str, str, str]:
    valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    return (
        str(valid).lower(),
        f"{certificate.serial_number:x}",
        certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        _trust_domain(certificate),
    )


def _trust_domain(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        if uri.startswith("spiffe://"):
            return uri.removeprefix("spiffe://").partition("/")[0]
    return ""
