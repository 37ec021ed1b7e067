"""What do the bytes of the discovery protocol say? Requests become plain values, answers become bytes.

https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2, json_format
from google.protobuf.message import DecodeError

from lateen.envoy.resource import Resource, TypeUrl
from lateen.envoy.sealing import embedded, serialized

DELTA_METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
STATE_METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"


class MalformedError(ValueError):
    """The bytes are no message of this kind."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """The node of a first request: who the proxy says it is."""

    id: str
    cluster: str
    metadata: Mapping[str, Any]
    locality: tuple[str, str, str]
    version: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of either protocol; a field the protocol lacks is empty."""

    type_url: TypeUrl
    node: Introduction | None = None
    nonce: str = ""
    error: str = ""
    names: frozenset[str] = frozenset()  # state of the world
    subscribe: frozenset[str] = frozenset()  # delta
    unsubscribe: frozenset[str] = frozenset()
    initial_versions: Mapping[str, str] = field(default_factory=dict)


def delta_request(raw: bytes) -> Asked:
    """A DeltaDiscoveryRequest; MalformedError when it is none."""
    message = discovery_pb2.DeltaDiscoveryRequest()
    _parse(message, raw)
    return Asked(
        TypeUrl(message.type_url), _introduction(message), message.response_nonce, _error(message),
        subscribe=frozenset(message.resource_names_subscribe), unsubscribe=frozenset(message.resource_names_unsubscribe),
        initial_versions=dict(message.initial_resource_versions),
    )  # fmt: skip


def state_request(raw: bytes) -> Asked:
    """A DiscoveryRequest; MalformedError when it is none."""
    message = discovery_pb2.DiscoveryRequest()
    _parse(message, raw)
    return Asked(
        TypeUrl(message.type_url), _introduction(message), message.response_nonce, _error(message),
        names=frozenset(message.resource_names),
    )  # fmt: skip


def delta_response(
    type_url: TypeUrl, nonce: str, resources: Iterable[Resource], removed: Iterable[str]
) -> bytes:
    """A DeltaDiscoveryResponse."""
    message = discovery_pb2.DeltaDiscoveryResponse(
        type_url=type_url, nonce=nonce, removed_resources=list(removed)
    )
    kind = embedded(_ANY_TYPE, type_url.encode())
    return b"".join((serialized(message), *(embedded(_RESOURCES, _entry(it, kind)) for it in resources)))


_ANY_TYPE, _ANY_VALUE = any_pb2.Any.TYPE_URL_FIELD_NUMBER, any_pb2.Any.VALUE_FIELD_NUMBER
_RESOURCES = discovery_pb2.DeltaDiscoveryResponse.RESOURCES_FIELD_NUMBER
_NAME = discovery_pb2.Resource.NAME_FIELD_NUMBER
_VERSION = discovery_pb2.Resource.VERSION_FIELD_NUMBER
_RESOURCE = discovery_pb2.Resource.RESOURCE_FIELD_NUMBER


def _entry(it: Resource, kind: bytes) -> bytes:
    """The bytes of a ``discovery.v3.Resource``. The sealed body is written as it is: not parsed, not copied twice."""
    named = embedded(_NAME, it.name.encode()) + embedded(_VERSION, it.version.encode())
    return named + embedded(_RESOURCE, kind + embedded(_ANY_VALUE, it.body))


def state_response(type_url: TypeUrl, version: str, nonce: str, resources: Iterable[Resource]) -> bytes:
    """A DiscoveryResponse."""
    message = discovery_pb2.DiscoveryResponse(type_url=type_url, nonce=nonce, version_info=version)
    for it in resources:
        message.resources.add(type_url=type_url, value=it.body)
    return bytes(message.SerializeToString(deterministic=True))


def _parse(message: Any, raw: bytes) -> None:
    try:
        message.ParseFromString(raw)
    except DecodeError as wrong:
        raise MalformedError(f"this is no {type(message).__name__}: {wrong}") from wrong


def _error(message: Any) -> str:
    return (
        str(message.error_detail.message or "refused without a reason")
        if message.HasField("error_detail")
        else ""
    )


def _introduction(message: Any) -> Introduction | None:
    if not message.HasField("node"):
        return None
    node: base_pb2.Node = message.node
    locality = (node.locality.region, node.locality.zone, node.locality.sub_zone)
    try:
        metadata = json_format.MessageToDict(node.metadata)
    except (json_format.Error, ValueError) as wrong:  # infinite numbers, and values of no kind
        raise MalformedError(f"the node's metadata cannot be read: {wrong}") from wrong
    return Introduction(node.id, node.cluster, metadata, locality, _version(node))


def _version(node: base_pb2.Node) -> str:
    if not node.HasField("user_agent_build_version"):
        return str(node.user_agent_version)
    it = node.user_agent_build_version.version
    return f"{it.major_number}.{it.minor_number}.{it.patch}"
