"""With which certificate does the control plane itself answer? One of its own CA, under the names of its Service."""

from __future__ import annotations

import secrets
import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.authority.store import Authority
from lateen.pki.authority import RefusedError
from lateen.pki.certificates import key_pem, leaf, pem

TTL = timedelta(days=90)


def names(service: str, namespace: str) -> list[str]:
    """Under which the Service is called."""
    found = [
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}",
        service,
        f"{service}.{namespace}.svc.cluster.local",
    ]
    return list(dict.fromkeys([*found, f"istiod.{namespace}.svc", f"istio-pilot.{namespace}.svc"]))


def fill(context: ssl.SSLContext, authority: Authority, hosts: Sequence[str]) -> datetime:
    """Give a server context a fresh certificate, for new connections; returns when it ends.

    Raises RefusedError when the CA has ended.
    """
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    issuer = authority.issuer
    if (end := issuer.certificate.not_valid_after_utc) <= now:
        raise RefusedError(
            f"Secret {authority.source}: the CA's certificate ended at {end:%Y-%m-%d %H:%M:%S} UTC: put a new one there"
        )
    made = leaf(
        issuer,
        key.public_key(),
        [x509.DNSName(it) for it in hosts],
        serial=secrets.randbits(127) | 1,
        now=now,
        ttl=TTL,
    )
    with tempfile.NamedTemporaryFile() as file:  # ssl reads keys from files only
        file.write(pem(made, *issuer.chain) + key_pem(key))
        file.flush()
        context.load_cert_chain(file.name)
    return made.not_valid_after_utc


def server_context(
    authority: Authority, hosts: Sequence[str], *, clients: bool, roots: bytes = b""
) -> ssl.SSLContext:
    """TLS 1.2 or later; with ``clients``, certificates of the mesh are looked at, though not demanded.

    ``roots`` are those of clients, if not the authority's own. Raises RefusedError when the CA has ended.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    fill(context, authority, hosts)
    if clients:
        context.set_alpn_protocols(["h2"])
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=(roots or authority.root_pem).decode())
    return context


def renewed_after(authority: Authority) -> timedelta:
    """How long a fresh certificate is good for before the next: half of its life, which its issuer may shorten."""
    left = authority.issuer.certificate.not_valid_after_utc - datetime.now(UTC)
    return max(min(TTL, left) / 2, timedelta(minutes=1))
