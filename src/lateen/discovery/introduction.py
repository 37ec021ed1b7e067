"""Who is this proxy? From its node in the first request to a fact, if its certificate does not contradict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lateen.api import lenient
from lateen.api.proxy_config import Topology
from lateen.envoy.codec import Introduction
from lateen.names import labels
from lateen.names.identity import Identity
from lateen.names.keys import ProxyKey
from lateen.names.locality import Locality
from lateen.registry.facts import Proxy

KINDS = ("sidecar", "router")


#: A node's metadata holds labels and a few words; whatever is larger is no proxy.
MOST_LABELS, LONGEST_ID = 256, 1024


class StrangerError(ValueError):
    """The proxy cannot be served; the message says what it should have said."""


class ImpostorError(ValueError):
    """The proxy is not whom its certificate names."""


def proxy(node: Introduction) -> Proxy:
    """The fact. ``StrangerError`` when the node id is not ``<kind>~<ip>~<pod>.<namespace>~<domain>``."""
    parts = node.id.split("~")
    pod, _, namespace = parts[2].rpartition(".") if len(parts) == 4 else ("", "", "")
    if parts[0] not in KINDS or not pod or not namespace or len(node.id) > LONGEST_ID:
        raise StrangerError(
            f'node id "{node.id[:LONGEST_ID]}" is not of the form sidecar~IP~POD.NAMESPACE~DOMAIN (or router~...)'
        )
    said = node.metadata
    return Proxy(
        key=ProxyKey(node.id), kind=parts[0], ip=parts[1], namespace=namespace, pod=pod, labels=labels.of(_labels(said)),
        service_account=_word(said, "SERVICE_ACCOUNT") or "default", cluster=_word(said, "CLUSTER_ID") or "Kubernetes",
        network=_word(said, "NETWORK"), locality=Locality(*(it[:LONGEST_ID] for it in node.locality)),
        version=_word(said, "ISTIO_VERSION"), metadata=_kept(node), topology=_topology(said),
    )  # fmt: skip


def _word(said: Mapping[str, Any], name: str) -> str:
    """Proxies' own words are kept, shown and counted by: not at any length."""
    return str(said.get(name) or "")[:LONGEST_ID]


def _kept(node: Introduction) -> dict[str, str]:
    # GENERATOR "grpc" is how Istio's bootstrap for proxyless gRPC says that no Envoy asks.
    kept = {"ENVOY_VERSION": node.version[:LONGEST_ID]}
    if generator := _word(node.metadata, "GENERATOR"):
        kept["GENERATOR"] = generator
    return kept


def _topology(said: Mapping[str, Any]) -> Topology | None:
    """Of the settings that injection gave it: the mesh's of that time, and its pod's own. What is wrong is not said."""
    config = said.get("PROXY_CONFIG")
    written = config.get("gatewayTopology") if isinstance(config, Mapping) else None
    if not isinstance(written, Mapping):
        return None
    # A node's metadata know one kind of number.
    whole = {key: int(it) if isinstance(it, float) and it.is_integer() else it for key, it in written.items()}
    return lenient.read(whole, Topology())[0]


def _labels(said: Mapping[str, Any]) -> dict[str, str]:
    found = said.get("LABELS")
    if not isinstance(found, Mapping):
        return {}
    if len(found) > MOST_LABELS:
        raise StrangerError(f"a node has at most {MOST_LABELS} labels, this one says {len(found)}")
    return {str(key)[:LONGEST_ID]: str(value)[:LONGEST_ID] for key, value in found.items()}


def check(it: Proxy, identity: Identity | None, *, encrypted: bool, account: str = "") -> None:
    """A proxy that shows a certificate is served only what its own namespace and account may have.

    ``account`` is that of the pod it says it is, where the pod is known. Raises ``ImpostorError``.
    """
    if not encrypted:
        return  # port 15010: in the clear, as Istio's, for clients without a certificate
    if identity is None:
        raise ImpostorError("a client certificate of this mesh is needed")
    if (identity.namespace, identity.service_account) != (it.namespace, it.service_account):
        raise ImpostorError(
            f"the certificate is of {identity.namespace}/{identity.service_account}, "
            f"the node says {it.namespace}/{it.service_account}"
        )
    if account and account != identity.service_account:
        raise ImpostorError(
            f"the certificate is of {identity.namespace}/{identity.service_account}, "
            f"the pod {it.namespace}/{it.pod} runs as {account}"
        )
