"""How does Kubernetes learn of Istio's kinds? CustomResourceDefinitions, with schemas made from our types.

Where a kind is typed here, its schema says what the types say; fields which nobody reads are kept as they were
written, so that objects survive a round trip through this mesh. Other kinds are stored without a schema.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

from lateen.api.destination_rule import DestinationRuleSpec
from lateen.api.gateway import GatewaySpec
from lateen.api.meta import Duration
from lateen.api.networking import VirtualServiceSpec
from lateen.api.security import PeerAuthenticationSpec
from lateen.api.service_entry import ServiceEntrySpec

Schema: TypeAlias = dict[str, Any]

_FREE: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


class Column(NamedTuple):
    """A column of ``kubectl get``."""

    name: str
    path: str
    type: str = "string"


_AGE = Column("Age", ".metadata.creationTimestamp", "date")


class Definition(NamedTuple):
    """A kind: its names, its versions (the first is stored), and the type of its ``spec`` if it has one here."""

    kind: str
    plural: str
    group: str
    versions: tuple[str, ...]
    short: tuple[str, ...] = ()
    columns: tuple[Column, ...] = (_AGE,)
    spec: type | None = None
    spec_required: bool = False


_NETWORKING, _SECURITY = "networking.istio.io", "security.istio.io"
_THREE = ("v1", "v1beta1", "v1alpha3")
_TWO = ("v1", "v1beta1")

DEFINITIONS: tuple[Definition, ...] = (
    Definition("AuthorizationPolicy", "authorizationpolicies", _SECURITY, _TWO, ("ap",),
               (Column("Action", ".spec.action"), _AGE)),
    Definition("DestinationRule", "destinationrules", _NETWORKING, _THREE, ("dr",),
               (Column("Host", ".spec.host"), _AGE), DestinationRuleSpec),
    Definition("EnvoyFilter", "envoyfilters", _NETWORKING, ("v1alpha3",)),
    Definition("Gateway", "gateways", _NETWORKING, _THREE, ("gw",), (_AGE,), GatewaySpec),
    Definition("PeerAuthentication", "peerauthentications", _SECURITY, _TWO, ("pa",),
               (Column("Mode", ".spec.mtls.mode"), _AGE), PeerAuthenticationSpec),
    Definition("ProxyConfig", "proxyconfigs", _NETWORKING, ("v1beta1",)),
    Definition("RequestAuthentication", "requestauthentications", _SECURITY, _TWO, ("ra",)),
    Definition("ServiceEntry", "serviceentries", _NETWORKING, _THREE, ("se",),
               (Column("Hosts", ".spec.hosts"), Column("Location", ".spec.location"),
                Column("Resolution", ".spec.resolution"), _AGE), ServiceEntrySpec, spec_required=True),
    Definition("Sidecar", "sidecars", _NETWORKING, _THREE),
    Definition("Telemetry", "telemetries", "telemetry.istio.io", ("v1alpha1", "v1"), ("telemetry",)),
    Definition("VirtualService", "virtualservices", _NETWORKING, _THREE, ("vs",),
               (Column("Gateways", ".spec.gateways"), Column("Hosts", ".spec.hosts"), _AGE), VirtualServiceSpec),
    Definition("WasmPlugin", "wasmplugins", "extensions.istio.io", ("v1alpha1",)),
    Definition("WorkloadEntry", "workloadentries", _NETWORKING, _THREE, ("we",),
               (_AGE, Column("Address", ".spec.address"))),
    Definition("WorkloadGroup", "workloadgroups", _NETWORKING, _THREE, ("wg",)),
)  # fmt: skip


def manifests() -> list[dict[str, Any]]:
    """A CustomResourceDefinition for every kind of Istio."""
    return [manifest(it) for it in DEFINITIONS]


def manifest(it: Definition) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    names: dict[str, Any] = {
        "kind": it.kind,
        "listKind": f"{it.kind}List",
        "plural": it.plural,
        "singular": it.kind.lower(),
        "categories": ["istio-io", it.group.replace(".", "-")],
    }
    if it.short:
        names["shortNames"] = list(it.short)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{it.plural}.{it.group}",
            "labels": {"app": "istio-pilot", "istio": it.group.partition(".")[0]},
        },
        "spec": {
            "group": it.group,
            "names": names,
            "scope": "Namespaced",
            "versions": [_version(it, version) for version in it.versions],
        },
    }


def _version(it: Definition, version: str) -> dict[str, Any]:
    spec = schema(it.spec) if it.spec else dict(_FREE)
    body: Schema = {"type": "object", "properties": {"spec": spec, "status": dict(_FREE)}}
    if it.spec_required:
        body["required"] = ["spec"]
    return {
        "name": version,
        "served": True,
        "storage": version == it.versions[0],
        "schema": {"openAPIV3Schema": body},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": column.name, "jsonPath": column.path, "type": column.type} for column in it.columns
        ],
    }


def schema(kind: type) -> Schema:
    """The structural schema of a type."""
    return _schema(msgspec.inspect.type_info(kind))


def _schema(it: msgspec.inspect.Type) -> Schema:
    match it:
        case msgspec.inspect.StructType():
            return _object(it)
        case msgspec.inspect.StrType():
            return {"type": "string"}
        case msgspec.inspect.BoolType():
            return {"type": "boolean"}
        case msgspec.inspect.IntType():
            return {"type": "integer", "format": "int64"}
        case msgspec.inspect.FloatType():
            return {"type": "number", "format": "double"}
        case msgspec.inspect.ListType(item_type=item):
            return {"type": "array", "items": _schema(item)}
        case msgspec.inspect.DictType(value_type=value):
            return {"type": "object", "additionalProperties": _schema(value)}
        case msgspec.inspect.EnumType(cls=cls):
            return _choice(cls)
        case msgspec.inspect.CustomType(cls=cls) if cls is Duration:
            return {"type": "string"}
        case msgspec.inspect.UnionType(types=types):
            present = [one for one in types if not isinstance(one, msgspec.inspect.NoneType)]
            if len(present) == 1:
                return _schema(present[0])
            assert {type(one) for one in present} == {msgspec.inspect.IntType, msgspec.inspect.StrType}, (
                present
            )
            return {"x-kubernetes-int-or-string": True}
    raise AssertionError(f"no schema is known for {it}")


def _choice(cls: type[enum.Enum]) -> Schema:
    return {"type": "string", "enum": [it.value for it in cls]}


def _object(it: msgspec.inspect.StructType) -> Schema:
    properties: Mapping[str, Schema] = {field.encode_name: _schema(field.type) for field in it.fields}
    made: Schema = {"type": "object", "properties": properties, "x-kubernetes-preserve-unknown-fields": True}
    if it.cls.__doc__:
        made["description"] = it.cls.__doc__.partition("\n")[0]
    required = [field.encode_name for field in it.fields if field.required]
    if required:
        made["required"] = required
    return made
