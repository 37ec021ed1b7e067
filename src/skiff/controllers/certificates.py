"""Which approved requests get a certificate? Those for the signers of Kubernetes itself, by the cluster's CA.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

from skiff.api import Object
from skiff.apiserver.signing import CLIENT, NODE_CLIENT, NODE_SERVER, groups_of, request_of
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.kinds import CERTIFICATE_SIGNING_REQUESTS
from skiff.objects import now, parsed, stamp

_NODES, _NODE = "system:nodes", "system:node:"
_BOTH = {"key encipherment", "digital signature"}
#: The extended usage of each signer; the others that it allows are in _BOTH.
_PURPOSE = {CLIENT: "client auth", NODE_CLIENT: "client auth", NODE_SERVER: "server auth"}
_USUAL = timedelta(days=365)
#: How long a request is kept: decided or failed, and not decided.
_DONE, _PENDING = timedelta(hours=1), timedelta(hours=24)


def controller(cluster: Cluster) -> Controller:
    """Approved requests are signed; all are removed some time later."""

    async def reconcile(key: Key) -> float | None:
        found = cluster.informers[CERTIFICATE_SIGNING_REQUESTS].get(*key)
        return None if found is None else await _reconcile(cluster, found)

    it = Controller("certificates", reconcile, workers=1)
    it.follow(cluster, CERTIFICATE_SIGNING_REQUESTS)
    return it


async def _reconcile(cluster: Cluster, it: Object) -> float | None:
    status = it.get("status") or {}
    held = {c["type"] for c in status.get("conditions") or () if c.get("status") != "False"}
    waits = not status.get("certificate") and held == {"Approved"}
    if waits and it["spec"].get("signerName") in _PURPOSE:
        await _sign(cluster, it)
    begun = parsed(it["metadata"]["creationTimestamp"]) or now()
    times = [parsed(c.get("lastUpdateTime")) or begun for c in status.get("conditions") or ()]
    end = max(times) + _DONE if held else begun + _PENDING
    if now() < end:
        return (end - now()).total_seconds()
    await cluster.delete(CERTIFICATE_SIGNING_REQUESTS, it)
    return None


async def _sign(cluster: Cluster, it: Object) -> None:
    status = it.get("status") or {}
    try:
        request = request_of(it)
        _require_fitting(it["spec"], request)
    except ValueError as wrong:
        condition = {
            "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": str(wrong),
            "lastUpdateTime": stamp(now()), "lastTransitionTime": stamp(now()),
        }  # fmt: skip
        wanted: Object = {"conditions": [*(status.get("conditions") or ()), condition]}
    else:
        seconds = it["spec"].get("expirationSeconds")
        lasts = min(timedelta(seconds=seconds), _USUAL) if seconds else _USUAL
        made = cluster.settings.sign(request, it["spec"].get("usages") or (), lasts)
        wanted = {"certificate": base64.b64encode(made).decode()}
    await cluster.patch(CERTIFICATE_SIGNING_REQUESTS, it, {"status": wanted}, subresource="status")


def _require_fitting(spec: Object, request: Any) -> None:
    """ValueError with what the signer does not like."""
    signer, usages = spec["signerName"], set(spec.get("usages") or ())
    purpose = _PURPOSE[signer]
    if purpose not in usages or usages - _BOTH - {purpose}:
        raise ValueError(f"usages did not match {sorted({purpose, *_BOTH})}")
    if signer == CLIENT:
        return
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    names = [str(part.value) for part in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if groups_of(request) != [_NODES]:
        raise ValueError(f"organization must be {_NODES}")
    if len(names) != 1 or not names[0].startswith(_NODE):
        raise ValueError(f"common name must begin with {_NODE}")
    try:
        told = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        told = []
    places = [part for part in told if isinstance(part, x509.DNSName | x509.IPAddress)]
    if len(places) < len(list(told)):
        raise ValueError("only DNS and IP subjectAltNames are allowed")
    if bool(places) != (signer == NODE_SERVER):
        raise ValueError(
            "DNS or IP subjectAltName is required"
            if signer == NODE_SERVER
            else "subjectAltNames are not allowed"
        )
