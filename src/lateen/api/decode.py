"""Which fact is this document? Decoding by group and kind, with the path of whatever is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from lateen.api import core, destination_rule, gateway, networking, security
from lateen.api.meta import Fact, from_text
from lateen.names.problems import Problem

#: (group, kind) -> type of the fact. All served versions of a kind have one schema.
KINDS: Mapping[tuple[str, str], type[Fact]] = {
    ("", "Service"): core.Service,
    ("", "Pod"): core.Pod,
    ("", "Namespace"): core.Namespace,
    ("", "ConfigMap"): core.ConfigMap,
    ("discovery.k8s.io", "EndpointSlice"): core.EndpointSlice,
    ("networking.istio.io", "VirtualService"): networking.VirtualService,
    ("networking.istio.io", "DestinationRule"): destination_rule.DestinationRule,
    ("networking.istio.io", "Gateway"): gateway.Gateway,
    ("security.istio.io", "PeerAuthentication"): security.PeerAuthentication,
}


def kind_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """(group, kind) of a document."""
    group, slash, _ = str(document.get("apiVersion", "")).partition("/")
    return (group if slash else "", str(document.get("kind", "")))


def decode(document: Mapping[str, Any]) -> Fact | Problem:
    """The fact in a document, or what is wrong with it. Raises KeyError for a kind that is not in KINDS."""
    table = KINDS[kind_of(document)]
    try:
        return msgspec.convert(without_nulls(document), table, dec_hook=from_text)
    except msgspec.ValidationError as wrong:
        metadata = document.get("metadata")
        named = metadata if isinstance(metadata, Mapping) else {}
        message, path = split(str(wrong))
        return Problem(
            table.__name__, str(named.get("namespace", "")), str(named.get("name", "")), path, message
        )


def split(said: str) -> tuple[str, str]:
    """msgspec says ``message - at `$.spec.hosts[0]` ``: (message, path without the dollar)."""
    message, _, place = said.partition(" - at `")
    return message, place.rpartition("$")[2].removesuffix("`").removeprefix(".")


def without_nulls(value: Any) -> Any:
    """JSON's null means absent, as the API server reads it; YAML's numeric keys are texts, as kubectl makes them."""
    if isinstance(value, Mapping):
        return {str(key): without_nulls(it) for key, it in value.items() if it is not None}
    if isinstance(value, list):
        return [without_nulls(it) for it in value]
    return value
