"""Which fact is this document? Decoding by group and kind, with the path of whatever is wrong."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from lateen.api import (
    authorization,
    core,
    destination_rule,
    extensions,
    gateway,
    networking,
    security,
    service_entry,
    sidecar,
    telemetry,
    traffic_extension,
    workloads,
)
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

#: Kinds that are stored and checked, and that no view is made of yet.
STORED: Mapping[tuple[str, str], type[Fact]] = {
    ("networking.istio.io", "ServiceEntry"): service_entry.ServiceEntry,
    ("networking.istio.io", "Sidecar"): sidecar.Sidecar,
    ("networking.istio.io", "WorkloadEntry"): workloads.WorkloadEntry,
    ("networking.istio.io", "WorkloadGroup"): workloads.WorkloadGroup,
    ("networking.istio.io", "EnvoyFilter"): extensions.EnvoyFilter,
    ("networking.istio.io", "ProxyConfig"): extensions.ProxyConfig,
    ("security.istio.io", "AuthorizationPolicy"): authorization.AuthorizationPolicy,
    ("security.istio.io", "RequestAuthentication"): authorization.RequestAuthentication,
    ("telemetry.istio.io", "Telemetry"): telemetry.Telemetry,
    ("extensions.istio.io", "WasmPlugin"): extensions.WasmPlugin,
    ("extensions.istio.io", "TrafficExtension"): traffic_extension.TrafficExtension,
}


#: Of a message: what is wrong may be a megabyte.
_LONGEST = 400


def kind_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """(group, kind) of a document."""
    group, slash, _ = str(document.get("apiVersion", "")).partition("/")
    return (group if slash else "", str(document.get("kind", "")))


def decode(document: Mapping[str, Any]) -> Fact | Problem:
    """The fact in a document, or what is wrong with it. Raises KeyError for a kind in neither table."""
    kind = kind_of(document)
    table = KINDS[kind] if kind in KINDS else STORED[kind]
    try:
        return msgspec.convert(without_nulls(document), table, dec_hook=from_text)
    except msgspec.ValidationError as wrong:
        message, path = explained(str(wrong), table)
        message = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."
    except RecursionError:
        message, path = "is nested too deeply", ""
    metadata = document.get("metadata")
    named = metadata if isinstance(metadata, Mapping) else {}
    return Problem(table.__name__, str(named.get("namespace", "")), str(named.get("name", "")), path, message)


def split(said: str) -> tuple[str, str]:
    """msgspec says ``message - at `$.spec.hosts[0]` ``: (message, path without the dollar)."""
    message, _, place = said.partition(" - at `")
    return message, place.rpartition("$")[2].removesuffix("`").removeprefix(".")


def explained(said: str, table: type[msgspec.Struct]) -> tuple[str, str]:
    """(message, path) with the field that is missing, and the choices there are."""
    message, path = split(said)
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", message):
        return "is required", f"{path}.{missing[1]}".removeprefix(".")
    if message.startswith("Invalid enum value") and (choices := _choices(table, path)):
        return (
            f"{message.replace('Invalid enum value', 'unknown value')}: use one of {', '.join(choices)}",
            path,
        )
    for pattern, advice in _ADVICE:
        message = re.sub(pattern, advice, message)
    if other := re.fullmatch(r"Expected `([^`]+)`, got `(\w+)`", message):
        wanted = [_NAMED.get(it, it) for it in other[1].split(" | ") if it != "null"]
        message = f"must be {' or '.join(wanted)}, not {_NAMED.get(other[2], other[2])}"
    return message, path


#: msgspec's words for types -> those of who writes YAML.
_NAMED = {
    "bool": "true or false", "int": "a whole number", "float": "a number", "str": "a string", "array": "a list",
    "object": "a map", "null": "null",
}  # fmt: skip
#: msgspec's words for limits -> ours.
_ADVICE = (
    (r"Expected `\w+` of length >= 1$", "must not be empty"),
    (r"Expected `array` of length <= (\d+)$", r"must have at most \1 entries"),
    (r"Expected `(int|float)` ([<>]=) (\S+)$", r"must be a number \2 \3"),
    (r"Expected `str` of length <= (\d+)$", r"must have at most \1 characters"),
    (r"Expected `str` matching regex '(.*)'$", r"must match \1"),
)


def _choices(table: type[msgspec.Struct], path: str) -> list[str]:
    """What the field at a path may be, if it is a choice."""
    it: msgspec.inspect.Type | None = _type(table)
    for part in re.findall(r"\w+|\[[^\]]*\]", path):
        it = inner(it, part) if it else None
    chosen = present(it) if it else None
    return [one.value for one in chosen.cls] if isinstance(chosen, msgspec.inspect.EnumType) else []


@functools.cache
def _type(table: type[msgspec.Struct]) -> msgspec.inspect.Type:
    return msgspec.inspect.type_info(table)


def inner(it: msgspec.inspect.Type, part: str) -> msgspec.inspect.Type | None:
    """The type one step further: a field by its name, or what ``[0]`` and ``[...]`` stand for."""
    match present(it):
        case msgspec.inspect.StructType(fields=fields):
            return next((field.type for field in fields if field.encode_name == part), None)
        case msgspec.inspect.ListType(item_type=item):
            return item
        case msgspec.inspect.DictType(value_type=value):
            return value
    return None


def present(it: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """The type without ``| None``."""
    if isinstance(it, msgspec.inspect.UnionType):
        kinds = [one for one in it.types if not isinstance(one, msgspec.inspect.NoneType)]
        return kinds[0] if len(kinds) == 1 else it
    return it


def without_nulls(value: Any) -> Any:
    """JSON's null means absent, as the API server reads it; YAML's numeric keys are texts, as kubectl makes them."""
    if isinstance(value, Mapping):
        return {str(key): without_nulls(it) for key, it in value.items() if it is not None}
    if isinstance(value, list):
        return [without_nulls(it) for it in value]
    return value
