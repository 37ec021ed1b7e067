"""How does Kubernetes learn of Istio's kinds? CustomResourceDefinitions, with schemas made from our types.

The schemas are structural and closed: a field that Istio's API does not have is refused or dropped by the API
server as the client asks. Of the rules between fields they have those that Istio's definitions have
(``lateen.api.crd_rules``); all others are the webhook's (``lateen.api.validate``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from lateen.api import authorization, crd_rules, extensions, sidecar, telemetry, traffic_extension, workloads
from lateen.api.decode import present
from lateen.api.destination_rule import DestinationRuleSpec
from lateen.api.gateway import GatewaySpec
from lateen.api.meta import Duration, Value
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
    """A kind: its names, its versions (the first is stored), and the type of its ``spec``."""

    kind: str
    plural: str
    group: str
    versions: tuple[str, ...]
    spec: type[Value]
    short: tuple[str, ...] = ()
    columns: tuple[Column, ...] = (_AGE,)
    spec_required: bool = False


_NETWORKING, _SECURITY = "networking.istio.io", "security.istio.io"
_THREE = ("v1", "v1beta1", "v1alpha3")
_TWO = ("v1", "v1beta1")

DEFINITIONS: tuple[Definition, ...] = (
    Definition("AuthorizationPolicy", "authorizationpolicies", _SECURITY, _TWO, authorization.AuthorizationPolicySpec,
               ("ap",), (Column("Action", ".spec.action"), _AGE)),
    Definition("DestinationRule", "destinationrules", _NETWORKING, _THREE, DestinationRuleSpec, ("dr",),
               (Column("Host", ".spec.host"), _AGE), spec_required=True),
    Definition("EnvoyFilter", "envoyfilters", _NETWORKING, ("v1alpha3",), extensions.EnvoyFilterSpec),
    Definition("Gateway", "gateways", _NETWORKING, _THREE, GatewaySpec, ("gw",)),
    Definition("PeerAuthentication", "peerauthentications", _SECURITY, _TWO, PeerAuthenticationSpec, ("pa",),
               (Column("Mode", ".spec.mtls.mode"), _AGE)),
    Definition("ProxyConfig", "proxyconfigs", _NETWORKING, ("v1beta1",), extensions.ProxyConfigSpec),
    Definition("RequestAuthentication", "requestauthentications", _SECURITY, _TWO, authorization.RequestAuthenticationSpec,
               ("ra",)),
    Definition("ServiceEntry", "serviceentries", _NETWORKING, _THREE, ServiceEntrySpec, ("se",),
               (Column("Hosts", ".spec.hosts"), Column("Location", ".spec.location"),
                Column("Resolution", ".spec.resolution"), _AGE), spec_required=True),
    Definition("Sidecar", "sidecars", _NETWORKING, _THREE, sidecar.SidecarSpec),
    Definition("Telemetry", "telemetries", "telemetry.istio.io", ("v1alpha1", "v1"), telemetry.TelemetrySpec, ("telemetry",)),
    Definition("TrafficExtension", "trafficextensions", "extensions.istio.io", ("v1alpha1",),
               traffic_extension.TrafficExtensionSpec, spec_required=True),
    Definition("VirtualService", "virtualservices", _NETWORKING, _THREE, VirtualServiceSpec, ("vs",),
               (Column("Gateways", ".spec.gateways"), Column("Hosts", ".spec.hosts"), _AGE)),
    Definition("WasmPlugin", "wasmplugins", "extensions.istio.io", ("v1alpha1",), extensions.WasmPluginSpec,
               spec_required=True),
    Definition("WorkloadEntry", "workloadentries", _NETWORKING, _THREE, workloads.WorkloadEntrySpec, ("we",),
               (_AGE, Column("Address", ".spec.address")), spec_required=True),
    Definition("WorkloadGroup", "workloadgroups", _NETWORKING, _THREE, workloads.WorkloadGroupSpec, ("wg",),
               spec_required=True),
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
    spec = _ruled(schema(it.spec), crd_rules.SPECS.get(it.kind, ()))
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
            return {
                "type": "string",
                **_limits(minLength=it.min_length, maxLength=it.max_length, pattern=it.pattern),
            }
        case msgspec.inspect.BoolType():
            return {"type": "boolean"}
        case msgspec.inspect.IntType():
            return {"type": "integer", **_limits(minimum=it.ge, maximum=it.le)}
        case msgspec.inspect.FloatType():
            return {"type": "number", "format": "double", **_limits(minimum=it.ge, maximum=it.le)}
        case msgspec.inspect.ListType(item_type=item):
            return {"type": "array", "items": _schema(item)}
        case msgspec.inspect.DictType(value_type=msgspec.inspect.AnyType()):
            return dict(_FREE)
        case msgspec.inspect.DictType(value_type=value):
            return {
                "type": "object",
                "additionalProperties": _schema(value),
                **_limits(minProperties=it.min_length),
            }
        case msgspec.inspect.EnumType(cls=cls):
            return {"type": "string", "enum": [one.value for one in cls]}
        case msgspec.inspect.CustomType(cls=cls) if cls is Duration:
            return {"type": "string"}
        case msgspec.inspect.UnionType() if (one := present(it)) is not it:
            # As protobuf's wrappers, which Istio has for what may be left open: null is "not said".
            wrapper = isinstance(
                one, msgspec.inspect.BoolType | msgspec.inspect.IntType | msgspec.inspect.FloatType
            )
            return {**_schema(one), **({"nullable": True} if wrapper else {})}
    raise AssertionError(f"no schema is known for {it}")


def _limits(**said: Any) -> Schema:
    return {word: limit for word, limit in said.items() if limit is not None}


def _object(it: msgspec.inspect.StructType) -> Schema:
    properties: Mapping[str, Schema] = {field.encode_name: _field(it.cls, field) for field in it.fields}
    made = _ruled({"type": "object", "properties": properties}, crd_rules.OBJECTS.get(it.cls, ()))
    if it.cls.__doc__:
        made["description"] = it.cls.__doc__.partition("\n")[0]
    required = [field.encode_name for field in it.fields if field.required]
    if required:
        made["required"] = required
    groups = [_at_most_one(group) for group in getattr(it.cls, "ONE_OF", ())]
    return {**made, **(groups[0] if len(groups) == 1 else {"allOf": groups} if groups else {})}


def _field(owner: type, it: msgspec.inspect.Field) -> Schema:
    """The schema of a field, with the limits and rules that hold just there."""
    place = (owner, it.encode_name)
    return _ruled(_merged(_schema(it.type), crd_rules.LIMITS.get(place, {})), crd_rules.FIELDS.get(place, ()))


def _ruled(it: Schema, rules: Sequence[crd_rules.Rule]) -> Schema:
    known = it.get("x-kubernetes-validations", [])
    return {**it, "x-kubernetes-validations": [*known, *(one.written() for one in rules)]} if rules else it


def _merged(it: Schema, limits: Schema) -> Schema:
    return {
        **it,
        **{
            word: _merged(it[word], said) if isinstance(said, dict) else said for word, said in limits.items()
        },
    }


def _at_most_one(group: tuple[str, ...]) -> Schema:
    """Logic in a structural schema may only name fields, so "none of them" is said by ``not``."""
    each = [{"required": [name]} for name in group]
    return {"oneOf": [{"not": {"anyOf": each}}, *each]}
