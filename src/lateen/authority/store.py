"""Where is the CA's key kept? In a Secret: the plugged-in ``cacerts``, or one of our own making."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.api import reading
from lateen.kube.client import KubeClient, KubeError, Object
from lateen.pki.authority import ROOT_TTL, RefusedError, loaded
from lateen.pki.certificates import Issuer, key_pem, pem, self_signed

_log = structlog.get_logger("lateen.authority")

PLUGGED_IN, OWN = "cacerts", "istio-ca-secret"


@dataclass(frozen=True, slots=True)
class Authority:
    """What signs, and what everybody trusts."""

    issuer: Issuer
    root_pem: bytes
    source: str  # the Secret's name


async def load_or_create(client: KubeClient, namespace: str, *, trust_domain: str) -> Authority:
    """``cacerts`` if there is one, else ``istio-ca-secret``, which is made when missing.

    Raises ``lateen.pki.authority.RefusedError`` when the parts of a Secret do not fit.
    """
    made = _made(namespace, trust_domain)
    while True:
        if found := await existing(client, namespace):
            return found
        try:
            stored = await client.create(made)
        except KubeError as refused:
            if refused.code != 409:
                raise
            continue  # another replica was quicker: its root is the mesh's
        _log.info("made a root certificate", secret=OWN, trust_domain=trust_domain)
        return read(stored, OWN)


async def existing(client: KubeClient, namespace: str) -> Authority | None:
    """What the Secrets hold; RefusedError."""
    for name in (PLUGGED_IN, OWN):
        if found := await client.get(f"/api/v1/namespaces/{namespace}/secrets/{name}"):
            return read(found, name)
    return None


def read(secret: Object, name: str) -> Authority:
    """The authority in a Secret, under Istio's names or those of type ``kubernetes.io/tls`` (cert-manager's)."""

    def part(own: str, tls: str = "") -> bytes:
        data = reading.texts(secret, "data")
        return base64.b64decode(data.get(own) or data.get(tls) or "")

    certificates = part("ca-cert.pem", "tls.crt")
    root = part("root-cert.pem", "ca.crt") or certificates
    chain = part("cert-chain.pem") or certificates
    try:
        return Authority(loaded(certificates, part("ca-key.pem", "tls.key"), chain, root), root, name)
    except RefusedError as wrong:
        raise RefusedError(f"Secret {name}: {wrong}") from wrong


def _made(namespace: str, trust_domain: str) -> Object:
    key = ec.generate_private_key(ec.SECP256R1())
    root = self_signed(
        key, trust_domain, serial=secrets.randbits(127) | 1, now=datetime.now(UTC), ttl=ROOT_TTL
    )
    certificate = pem(root.certificate)
    data = {
        "ca-cert.pem": certificate,
        "ca-key.pem": key_pem(key),
        "root-cert.pem": certificate,
        "cert-chain.pem": b"",
    }
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "istio.io/ca-root",
        "metadata": {"name": OWN, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "lateen"}},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }  # fmt: skip
