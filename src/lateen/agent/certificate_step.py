"""How does the workload get its certificate? A process of its own: makes a key, asks the CA, writes the files, ends.

It is the only part of the agent that loads a cryptographic library, and it is gone before the traffic comes.
``python -m lateen.agent.certificate_step`` prints one line of JSON, the certificate's life; on failure, the reason.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from lateen.agent import http2, secrets, settings
from lateen.agent.settings import Settings
from lateen.names.identity import Identity
from lateen.pki import messages
from lateen.pki.certificates import key_pem

_CALL_S, _PATIENCE_S = 10.0, 25.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
#: Refusals which another attempt in a moment may turn: the control plane starts, or cannot reach Kubernetes just now.
_PASSING = (4, 8, 14)


def main() -> int:
    """The exit code: 0 when the files are written."""
    it = settings.from_environment("sidecar", "", os.environ)
    try:
        life = asyncio.run(_certified(it))
    except (OSError, ValueError, http2.CallError) as wrong:
        host, port = it.authority
        print(f"no certificate from {host}:{port}: {str(wrong) or type(wrong).__name__}", file=sys.stderr)
        return 1
    print(json.dumps(life))
    return 0


async def _certified(it: Settings) -> dict[str, float]:
    key = ec.generate_private_key(ec.SECP256R1())
    request = messages.encode_request(csr(key, it.identity), it.life_s)
    chain = [one.decode() for one in messages.decode_response(await _patiently(it, request))]
    if not chain:
        raise ValueError("the CA's answer holds no certificate")
    leaf = x509.load_pem_x509_certificate(chain[0].encode())
    if leaf.public_key() != key.public_key():
        raise ValueError("the CA's answer is a certificate of another key")
    if not secrets.write_roots(Path(settings.ROOTS).read_text()):
        raise ValueError(f"{settings.ROOTS} holds no certificate")
    # The root at the end is for those who have none yet; peers have it.
    secrets.write_identity("".join(chain[:-1] or chain), key_pem(key).decode())
    return {
        "not_before": leaf.not_valid_before_utc.timestamp(),
        "not_after": leaf.not_valid_after_utc.timestamp(),
    }


def csr(key: ec.EllipticCurvePrivateKey, identity: Identity) -> bytes:
    """The request to sign, as PEM."""
    uri = x509.UniformResourceIdentifier(str(identity))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    named = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=True)
    return named.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


async def _patiently(it: Settings, request: bytes) -> bytes:
    """The CA's answer, asked again for a while when it is away: pods and control plane often start together."""
    loop = asyncio.get_running_loop()
    end, wait = loop.time() + _PATIENCE_S, _FIRST_WAIT_S
    while True:
        try:
            async with asyncio.timeout(_CALL_S):
                return await _call(it, request)
        except ssl.SSLCertVerificationError:
            raise  # waiting does not turn a stranger into the CA
        except (OSError, http2.CallError) as wrong:
            passing = not isinstance(wrong, http2.CallError) or wrong.code in _PASSING
            pause = wait * random.uniform(0.5, 1.0)
            if not passing or loop.time() + pause > end:
                raise
        await asyncio.sleep(pause)
        wait = min(wait * 2, _LONGEST_WAIT_S)


async def _call(it: Settings, request: bytes) -> bytes:
    host, port = it.authority
    # Read anew each time: the token is renewed beside us, and the roots may change.
    token = Path(settings.TOKEN).read_text().strip()
    context = ssl.create_default_context(cafile=settings.ROOTS)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    try:
        proof = [(b"authorization", f"Bearer {token}".encode()), (b"clusterid", it.cluster.encode())]
        return await http2.unary(
            reader,
            writer,
            messages.METHOD,
            request,
            authority=f"{host}:{port}",
            scheme="https",
            metadata=proof,
        )
    finally:
        writer.close()


if __name__ == "__main__":
    sys.exit(main())
