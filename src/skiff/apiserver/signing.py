"""What may a CertificateSigningRequest say, and who may approve it or sign it?

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, Protocol

from skiff.api import Object
from skiff.errors import ApiError, invalid
from skiff.kinds import CERTIFICATE_SIGNING_REQUESTS, Kind

CLIENT = "kubernetes.io/kube-apiserver-client"
NODE_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
NODE_SERVER = "kubernetes.io/kubelet-serving"
_LEGACY = "kubernetes.io/legacy-unknown"
_MASTERS = "system:masters"
#: Whose conditions only ``approval`` changes.
DECISIONS = ("Approved", "Denied")
#: Written by the server: who asked.
_ASKER = ("username", "uid", "groups", "extra")
_SIGNER = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[a-zA-Z0-9]([-a-zA-Z0-9./]*[a-zA-Z0-9])?")
_USAGES = frozenset({
    "signing", "digital signature", "content commitment", "key encipherment", "key agreement", "data encipherment",
    "cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth", "client auth", "code signing",
    "email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing",
    "microsoft sgc", "netscape sgc",
})  # fmt: skip
_SHORTEST_S = 600

Check = Callable[[Object | None, Object | None], Object | None]


class _User(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def groups(self) -> tuple[str, ...]: ...
    @property
    def uid(self) -> str: ...


#: (user, verb, name of the signer): whether they may, by the made-up resource ``signers``.
May = Callable[[Any, str, str], bool]


def checks(may: May, who: Callable[[], Any]) -> dict[Kind, Check]:
    """For ``Registry.stored``. ``who`` is None inside the daemon."""

    def check(new: Object | None, old: Object | None) -> Object | None:
        if new is None:
            return None
        user = who()
        if old is None:
            new = _asked_by(new, user)
            _require_sound(new)
            return new
        new = {**new, "spec": old["spec"]}  # what was asked stays as it was asked
        if user is not None:
            _require_signer(may, user, new, old)
        return new

    return {CERTIFICATE_SIGNING_REQUESTS: check}


def replaced(old: Object, given: Object, subresource: str) -> Object:
    """``old`` after a write to ``approval`` or ``status``: each changes its own part of the status only."""
    before, wanted = old.get("status") or {}, given.get("status") or {}
    if subresource == "approval":
        kept = [it for it in before.get("conditions") or () if it.get("type") not in DECISIONS]
        taken = [it for it in wanted.get("conditions") or () if it.get("type") in DECISIONS]
        return {**old, "status": {**before, "conditions": [*kept, *taken]}}
    kept = [it for it in before.get("conditions") or () if it.get("type") in DECISIONS]
    taken = [it for it in wanted.get("conditions") or () if it.get("type") not in DECISIONS]
    rest = {name: it for name, it in wanted.items() if name != "conditions"}
    return {**old, "status": {**rest, "conditions": [*kept, *taken]} if kept or taken else rest}


def _asked_by(new: Object, user: _User | None) -> Object:
    spec = {name: it for name, it in (new.get("spec") or {}).items() if name not in _ASKER}
    if user is not None:
        spec |= {"username": user.name, "groups": list(user.groups)}
        if user.uid:
            spec["uid"] = user.uid
    return {**new, "spec": spec}


def _require_sound(new: Object) -> None:
    spec, causes = new.get("spec") or {}, []
    signer = str(spec.get("signerName", ""))
    groups: list[str] = []
    try:
        groups = groups_of(request_of(new))
    except ValueError as wrong:
        causes.append(("FieldValueInvalid", f"Invalid value: {wrong}", "spec.request"))
    if not spec.get("usages"):
        causes.append(("FieldValueRequired", "Required value: usages must be specified", "spec.usages"))
    for index, it in enumerate(spec.get("usages") or ()):
        if it not in _USAGES:
            causes.append(("FieldValueNotSupported", f'Unsupported value: "{it}"', f"spec.usages[{index}]"))
    if not _SIGNER.fullmatch(signer):
        said = f'Invalid value: "{signer}": should be a fully qualified domain and path of the form "example.com/signer-name"'
        causes.append(("FieldValueInvalid", said, "spec.signerName"))
    elif signer == _LEGACY:
        said = f'Invalid value: "{signer}": the legacy signerName is not allowed via this API version'
        causes.append(("FieldValueInvalid", said, "spec.signerName"))
    if (seconds := spec.get("expirationSeconds")) is not None and seconds < _SHORTEST_S:
        said = f"Invalid value: {seconds}: may not specify a duration less than 600 seconds (10 minutes)"
        causes.append(("FieldValueInvalid", said, "spec.expirationSeconds"))
    kind, name = CERTIFICATE_SIGNING_REQUESTS, new["metadata"]["name"]
    if causes:
        raise invalid(kind.kind, kind.group, name, causes)
    if signer == CLIENT and _MASTERS in groups:
        said = f"use of {CLIENT} signer with {_MASTERS} group is not allowed"
        raise ApiError(403, "Forbidden", f'{kind.resource} "{name}" is forbidden: {said}')


def request_of(obj: Object) -> Any:
    """The request inside, as ``cryptography`` reads it, with a signature of its own key; ValueError otherwise."""
    from cryptography import x509  # most clusters never see a request

    try:
        pem = base64.b64decode((obj.get("spec") or {}).get("request") or "", validate=True)
        found = x509.load_pem_x509_csr(pem)
        sound = found.is_signature_valid
    except (ValueError, TypeError, binascii.Error) as wrong:
        raise ValueError("PEM block type must be CERTIFICATE REQUEST") from wrong
    except Exception as wrong:  # keys of a kind that the library does not know
        raise ValueError(f"the request cannot be read: {wrong}") from wrong
    if not sound:
        raise ValueError("the request is not signed by its key")
    return found


def groups_of(request: Any) -> list[str]:
    """Its organizations: what Kubernetes takes for groups."""
    from cryptography.x509.oid import NameOID

    return [str(it.value) for it in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


def _require_signer(may: May, user: _User, new: Object, old: Object) -> None:
    after, before = new.get("status") or {}, old.get("status") or {}
    verbs = []
    if _decided(after) != _decided(before):
        verbs.append("approve")
    if after.get("certificate") != before.get("certificate") or _failed(after) != _failed(before):
        verbs.append("sign")
    signer = new["spec"].get("signerName", "")
    for verb in verbs:
        if not may(user, verb, signer) and not may(user, verb, f"{signer.partition('/')[0]}/*"):
            kind, said = (
                CERTIFICATE_SIGNING_REQUESTS,
                f'user not permitted to {verb} requests with signerName "{signer}"',
            )
            raise ApiError(
                403, "Forbidden", f'{kind.resource} "{new["metadata"]["name"]}" is forbidden: {said}'
            )


def _decided(status: Object) -> list[Any]:
    return [it for it in status.get("conditions") or () if it.get("type") in DECISIONS]


def _failed(status: Object) -> list[Any]:
    return [it for it in status.get("conditions") or () if it.get("type") not in DECISIONS]
