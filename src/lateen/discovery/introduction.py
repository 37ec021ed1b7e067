"""Who is this proxy? From its node in the first request to a fact, if its certificate does not contradict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lateen.envoy.codec import Introduction
from lateen.names import labels
from lateen.names.identity import Identity
from lateen.names.keys import ProxyKey
from lateen.names.locality import Locality
from lateen.registry.facts import Proxy

KINDS = ("sidecar", "router")


class StrangerError(ValueError):
    """The proxy cannot be served; the message says what it should have said."""


def proxy(node: Introduction) -> Proxy:
    """The fact. ``StrangerError`` when the node id is not ``<kind>~<ip>~<pod>.<namespace>~<domain>``."""
    parts = node.id.split("~")
    if len(parts) != 4 or parts[0] not in KINDS or "." not in parts[2]:
        raise StrangerError(
            f'node id "{node.id}" is not of the form sidecar~IP~POD.NAMESPACE~DOMAIN (or router~...)'
        )
    kind, ip, named, _ = parts
    pod, _, namespace = named.rpartition(".")
    said = node.metadata
    return Proxy(
        key=ProxyKey(node.id), kind=kind, ip=ip, namespace=namespace, pod=pod, labels=labels.of(_labels(said)),
        service_account=str(said.get("SERVICE_ACCOUNT") or "default"), cluster=str(said.get("CLUSTER_ID") or "Kubernetes"),
        network=str(said.get("NETWORK") or ""), locality=Locality(*node.locality),
        version=str(said.get("ISTIO_VERSION") or ""), metadata={"ENVOY_VERSION": node.version},
    )  # fmt: skip


def _labels(said: Mapping[str, Any]) -> dict[str, str]:
    found = said.get("LABELS")
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, Mapping) else {}


def check(it: Proxy, identity: Identity | None, *, encrypted: bool) -> None:
    """A proxy that shows a certificate is served only what its own namespace and account may have."""
    if not encrypted:
        return  # port 15010: in the clear, as Istio's, for clients without a certificate
    if identity is None:
        raise StrangerError("a client certificate of this mesh is needed")
    if (identity.namespace, identity.service_account) != (it.namespace, it.service_account):
        raise StrangerError(
            f"the certificate is of {identity.namespace}/{identity.service_account}, "
            f"the node says {it.namespace}/{it.service_account}"
        )
