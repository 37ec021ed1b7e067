"""Is this TLS of a server or a client complete, and without contradictions?"""

from __future__ import annotations

from lateen.api.destination_rule import ClientTLSMode, ClientTLSSettings
from lateen.api.gateway import ServerTLSMode, ServerTLSSettings, TLSProtocol
from lateen.api.validate import texts
from lateen.api.validate.finding import Finding, Findings, warning

#: BoringSSL's ciphers up to TLS 1.2, by OpenSSL's names (Gateway reference, ``cipherSuites``).
CIPHERS = frozenset(
    f"{exchange}{cipher}"
    for exchange, ciphers in {
        "ECDHE-ECDSA-": (
            "AES128-GCM-SHA256",
            "AES256-GCM-SHA384",
            "CHACHA20-POLY1305",
            "AES128-SHA",
            "AES256-SHA",
        ),
        "ECDHE-RSA-": (
            "AES128-GCM-SHA256",
            "AES256-GCM-SHA384",
            "CHACHA20-POLY1305",
            "AES128-SHA",
            "AES256-SHA",
        ),
        "": ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA", "DES-CBC3-SHA"),
    }.items()
    for cipher in ciphers
)
_LONGEST_NAME = 255
_MUTUAL = (ServerTLSMode.MUTUAL, ServerTLSMode.OPTIONAL_MUTUAL)
_UNTOUCHED = (ServerTLSMode.PASSTHROUGH, ServerTLSMode.AUTO_PASSTHROUGH)
_FILES = (
    ("server_certificate", "serverCertificate"), ("private_key", "privateKey"), ("ca_certificates", "caCertificates"),
)  # fmt: skip


_SECRETS = ("ca_crl", "credential_name", "credential_names", "ca_cert_credential_name", "tls_certificates")
#: A server has one certificate of RSA and one of ECDSA.
_MOST_CERTIFICATES = 2


def server(it: ServerTLSSettings | None, at: str) -> Findings:
    """``tls`` of a gateway's server or of a sidecar's ingress listener."""
    if it is None:
        return
    yield from _ciphers(it, at)
    for name, several in (("credentialNames", it.credential_names), ("tlsCertificates", it.tls_certificates)):
        if len(several) > _MOST_CERTIFICATES:
            yield warning(
                f"{at}.{name}", f"only the first {_MOST_CERTIFICATES} are used: one of RSA, one of ECDSA"
            )
    if it.mode is ServerTLSMode.ISTIO_MUTUAL:
        for attribute, name in (*_FILES, ("credential_name", "credentialName")):
            if getattr(it, attribute):
                yield Finding(f"{at}.{name}", "ISTIO_MUTUAL uses the mesh's own certificates: leave it out")
    elif it.mode in _UNTOUCHED and any(getattr(it, name) for name in (*_SECRETS, *dict(_FILES))):
        yield warning(at, f"{it.mode} does not use certificates: they are ignored")
    elif it.mode is ServerTLSMode.SIMPLE or it.mode in _MUTUAL:
        yield from _certificates(it, at)


def _certificates(it: ServerTLSSettings, at: str) -> Findings:
    if it.credential_name and it.credential_names:
        yield Finding(f"{at}.credentialNames", "only one of credentialName and credentialNames can be set")
    if it.ca_crl and (it.credential_name or it.mode is ServerTLSMode.SIMPLE):
        yield Finding(f"{at}.caCrl", "a list of revoked certificates needs mode MUTUAL and files; with credentialName "
                                     "it belongs into the secret")  # fmt: skip
    if it.credential_name or it.credential_names:
        return
    needed = _FILES if it.mode in _MUTUAL else _FILES[:2]
    for attribute, name in needed:
        several = it.tls_certificates and all(getattr(one, attribute) for one in it.tls_certificates)
        written = getattr(it, attribute) or several
        if not written and not (name == "caCertificates" and it.ca_cert_credential_name):
            yield Finding(f"{at}.{name}", f"mode {it.mode} requires it; or name a secret in credentialName")


def _ciphers(it: ServerTLSSettings, at: str) -> Findings:
    old = it.min_protocol_version in (TLSProtocol.TLSV1_0, TLSProtocol.TLSV1_1)
    if old and not it.cipher_suites:
        yield warning(
            f"{at}.minProtocolVersion",
            "below TLSV1_2 cipherSuites are needed too: the default has none that fit",
        )
    seen: set[str] = set()
    for index, name in enumerate(it.cipher_suites):
        if name and name != "ALL" and name[0].isalnum() and name not in CIPHERS:
            yield warning(f"{at}.cipherSuites[{index}]", f'unknown cipher "{name}" is ignored')
        elif name in seen:
            yield warning(f"{at}.cipherSuites[{index}]", f'"{name}" is said twice')
        seen.add(name)


def client(it: ClientTLSSettings | None, at: str) -> Findings:
    """``tls`` of a traffic policy."""
    if it is None:
        return
    own = it.mode in (ClientTLSMode.SIMPLE, ClientTLSMode.MUTUAL)
    if len(it.sni.encode()) > _LONGEST_NAME or texts.one_line(it.sni):
        yield Finding(f"{at}.sni", f"is no name of a server: use at most {_LONGEST_NAME} bytes in one line")
    if (
        it.insecure_skip_verify
        and own
        and (
            it.ca_certificates
            or it.subject_alt_names
            or (it.credential_name and it.mode is ClientTLSMode.SIMPLE)
        )
    ):
        yield Finding(f"{at}.insecureSkipVerify", "nothing is verified then: leave out caCertificates, "
                                                  "credentialName and subjectAltNames")  # fmt: skip
    if it.credential_name and own:
        if it.client_certificate or it.private_key or it.ca_certificates or it.ca_crl:
            yield Finding(
                f"{at}.credentialName", "certificates come from the secret or from files, not from both"
            )
    elif it.mode is ClientTLSMode.MUTUAL:
        if not it.client_certificate:
            yield Finding(
                f"{at}.clientCertificate", "mode MUTUAL requires it; or name a secret in credentialName"
            )
        if not it.private_key:
            yield Finding(f"{at}.privateKey", "mode MUTUAL requires it; or name a secret in credentialName")
