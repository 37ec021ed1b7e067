"""How does a message become bytes? Deterministically, with its digest for a version; and back, to be read."""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

from google.protobuf import any_pb2, json_format, struct_pb2

from lateen.envoy.resource import Resource

#: A message of protobuf. It never leaves the query that builds it.
Message: TypeAlias = Any


def seal(name: str, message: Message, *also: str) -> Resource:
    """The message as an immutable resource; ``also`` is whatever else its version must depend on."""
    return sealed(name, serialized(message), *also)


def serialized(message: Message) -> bytes:
    """The message as bytes, the same for equal messages."""
    body: bytes = message.SerializeToString(deterministic=True)
    return body


def sealed(name: str, body: bytes, *also: str) -> Resource:
    """A resource of bytes that are a message already, perhaps put together of parts."""
    digest = hashlib.blake2b(body, digest_size=12)
    for it in also:
        digest.update(it.encode())
    return Resource(name, digest.hexdigest(), body)


def embedded(number: int, message: bytes) -> bytes:
    """A field that holds a message (or text), as it stands in the bytes of the message around it.

    A message's bytes are its fields one after the other, so that parts which are known already need no parsing.
    """
    return _varint(number << 3 | 2) + _varint(len(message)) + message


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)


def packed(message: Message) -> Message:
    """The message in an Any."""
    name = message.DESCRIPTOR.full_name
    return any_pb2.Any(
        type_url=f"type.googleapis.com/{name}", value=message.SerializeToString(deterministic=True)
    )


def extension(name: str, message: Message) -> dict[str, Any]:
    """A named extension with its configuration, as most fields of Envoy want one."""
    return {"name": name, "typed_config": packed(message)}


def duration(nanoseconds: int) -> dict[str, int]:
    """A Duration."""
    return {"seconds": nanoseconds // 10**9, "nanos": nanoseconds % 10**9}


def struct(values: dict[str, Any]) -> Message:
    """A Struct, which constructors of protobuf do not make of a dictionary by themselves."""
    made = struct_pb2.Struct()
    made.update(values)
    return made


def texts(**values: str) -> Message:
    """A Struct of nothing but texts, which many endpoints carry: made in one call."""
    return struct_pb2.Struct(fields={name: {"string_value": it} for name, it in values.items()})  # type: ignore[misc]


def describe(type_url: str, body: bytes) -> dict[str, Any]:
    """A sealed resource as JSON's dictionary, for dumps and tests."""
    # Whoever describes may not have built anything yet: the types in Any must be known to be shown.
    from lateen.envoy import access, clusters, endpoints, http, listeners, routes, tls  # noqa: F401

    found = any_pb2.Any(type_url=type_url, value=body)
    shown: dict[str, Any] = json_format.MessageToDict(found, preserving_proto_field_name=True)
    _complete(shown)
    return shown


def _complete(shown: Any) -> None:
    """Show the field that our messages carry without knowing it (see ``lateen.envoy.access``)."""
    if isinstance(shown, dict):
        if str(shown.get("@type", "")).endswith("access_loggers.stats.v3.Config"):
            shown.setdefault("stats_scope", {"prefix": "istio", "sharing_name": "istio"})
        for it in shown.values():
            _complete(it)
    elif isinstance(shown, list):
        for it in shown:
            _complete(it)
