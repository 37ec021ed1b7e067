"""What the definitions of Istio's kinds refuse beside types: rules between fields in CEL, and limits.

A server that does not ask our webhook (``lateen.api.validate``, which knows far more) then refuses what Istio's own
definitions refuse. Kubernetes estimates what a rule may cost at most, by the limits of all that it looks at, and refuses
a definition whose rules may cost too much: a rule inside of a list needs limits on the way to it.
https://kubernetes.io/docs/reference/using-api/cel/#resource-constraints-on-cel-evaluation
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from lateen.api import (
    authorization,
    extensions,
    gateway,
    meta,
    security,
    service_entry,
    sidecar,
    telemetry,
    traffic_extension,
    workloads,
)

Schema: TypeAlias = dict[str, Any]


class Rule(NamedTuple):
    """A CEL expression about ``self`` that must be true, and what is said when it is not."""

    cel: str
    message: str

    def written(self) -> Schema:
        """As a schema has it."""
        return {"rule": self.cel, "message": self.message}


def _one_of(*fields: str) -> Rule:
    given = " + ".join(f"(has(self.{it}) ? 1 : 0)" for it in fields)
    return Rule(f"{given} <= 1", f"only one of {', '.join(fields[:-1])} and {fields[-1]} can be set")


_ATTACHED = (_one_of("selector", "targetRef", "targetRefs"),)
_WORKLOADS = _one_of("workloadSelector", "endpoints")
_ACCOUNTS = Rule(
    "!(has(self.serviceAccounts) || has(self.notServiceAccounts)) || !(has(self.principals) || has(self.notPrincipals)"
    " || has(self.namespaces) || has(self.notNamespaces))",
    "serviceAccounts cannot be set with namespaces or principals",
)
_UNIX = "has(self.address) && self.address.startsWith('unix://')"
_ADDRESS = (
    Rule("has(self.address) || has(self.network)", "address is required unless network is set"),
    Rule(
        f"!({_UNIX}) || self.address.startsWith('unix:///') || self.address.startsWith('unix://@')",
        "a Unix socket is an absolute path, or abstract with @",
    ),
    Rule(f"!({_UNIX}) || !self.address.endsWith('/')", "a Unix socket is no folder"),
    Rule(f"!({_UNIX}) || !has(self.ports)", "a Unix socket has no ports"),
)

#: Rules of an object, by its type.
OBJECTS: Mapping[type, tuple[Rule, ...]] = {
    authorization.AuthorizationPolicySpec: _ATTACHED,
    authorization.RequestAuthenticationSpec: _ATTACHED,
    telemetry.TelemetrySpec: _ATTACHED,
    extensions.WasmPluginSpec: _ATTACHED,
    traffic_extension.TrafficExtensionSpec: (
        _one_of("selector", "targetRefs"),
        Rule("has(self.wasm) != has(self.lua)", "exactly one of wasm or lua must be set"),
    ),
    authorization.Source: (_ACCOUNTS,),
    extensions.ObjectMatch: (
        Rule(
            "has(self.waypoint) ? has(self.context) && self.context == 'WAYPOINT' : !has(self.context)"
            " || self.context != 'WAYPOINT' || !(has(self.listener) || has(self.routeConfiguration) || has(self.cluster))",
            "waypoint goes with the context WAYPOINT, and the other matches with others",
        ),
    ),
    extensions.EnvVar: (
        Rule(
            "!has(self.valueFrom) || self.valueFrom != 'HOST' || !has(self.value)",
            "value may only be set when valueFrom is INLINE",
        ),
    ),
    security.PeerAuthenticationSpec: (
        Rule(
            "!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels)"
            " && self.selector.matchLabels.size() > 0)",
            "portLevelMtls requires selector",
        ),
    ),
    service_entry.ServiceEntrySpec: (
        _WORKLOADS,
        Rule(
            "!has(self.addresses) || !has(self.resolution) || self.resolution in ['STATIC', 'NONE']"
            " || !self.addresses.exists(it, it.contains('/'))",
            "addresses with a prefix length are for the resolutions NONE and STATIC",
        ),
        Rule(
            "!has(self.endpoints) || (has(self.resolution) && self.resolution != 'NONE')",
            "resolution NONE has no endpoints",
        ),
        Rule(
            "!has(self.resolution) || self.resolution != 'DNS_ROUND_ROBIN' || !has(self.endpoints)"
            " || self.endpoints.size() <= 1",
            "resolution DNS_ROUND_ROBIN has one endpoint at most",
        ),
    ),
    telemetry.TagOverride: (
        Rule(
            "has(self.operation) && self.operation == 'REMOVE' ? !has(self.value) : has(self.value)",
            "value is required with UPSERT, and must not be set with REMOVE",
        ),
    ),
    workloads.WorkloadEntrySpec: _ADDRESS[1:],
}

_LABELS = (
    Rule("self.all(key, key.size() > 0)", "a key of a label must not be empty"),
    Rule("self.all(key, !key.contains('*'))", "a wildcard is not supported in the key of a label"),
    Rule("self.all(key, !self[key].contains('*'))", "a wildcard is not supported in the value of a label"),
)
_POSITIVE = (Rule("duration(self) >= duration('1ms')", "must be a duration of 1ms at least"),)

#: Rules of one field, by the type that has it and its name in JSON.
FIELDS: Mapping[tuple[type, str], tuple[Rule, ...]] = {
    (meta.WorkloadSelector, "matchLabels"): _LABELS,
    (meta.LabelSelector, "labels"): _LABELS,
    (security.PeerAuthenticationSpec, "portLevelMtls"): (
        Rule("self.all(key, key.matches('^[0-9]{1,5}$') && int(key) > 0 && int(key) <= 65535)", "a port is 1 to 65535"),
    ),
    (service_entry.ServiceEntrySpec, "ports"): (
        Rule("self.all(one, self.exists_one(other, one.number == other.number))", "a port number cannot be duplicated"),
    ),
    (service_entry.ServiceEntrySpec, "hosts"): (
        Rule("self.all(it, it != '*')", "a host cannot be the wildcard alone"),
    ),
    (workloads.WorkloadEntrySpec, "ports"): (
        Rule("self.all(key, key.size() < 63)", "the name of a port has 62 characters at most"),
    ),
    (authorization.JWTRule, "timeout"): _POSITIVE,
    (telemetry.Metrics, "reportingInterval"): _POSITIVE,
    (extensions.WasmPluginSpec, "url"): (
        Rule(
            "!self.contains('://') || self.startsWith('http://') || self.startsWith('https://')"
            " || self.startsWith('oci://') || self.startsWith('file://')",
            "url begins with one of http, https, oci and file, or has no scheme",
        ),
    ),
}  # fmt: skip

_PORT: Schema = {"maximum": 65535}
_KEPT_SMALL: Schema = {"maxProperties": 256, "additionalProperties": {"maxLength": 63}}

#: What is added to the schema of one field.
LIMITS: Mapping[tuple[type, str], Schema] = {
    (meta.WorkloadSelector, "matchLabels"): _KEPT_SMALL,
    (meta.LabelSelector, "labels"): _KEPT_SMALL,
    (meta.PolicyTarget, "namespace"): {"maxLength": 0},  # of another namespace nothing can be attached to
    (meta.PolicyTarget, "name"): {"maxLength": 253},
    (meta.PolicyTarget, "kind"): {"maxLength": 63},
    (meta.PolicyTarget, "group"): {"maxLength": 253},
    (authorization.AuthorizationPolicySpec, "rules"): {"maxItems": 512},
    (authorization.AuthorizationPolicySpec, "targetRefs"): {"maxItems": 16},
    (authorization.Rule, "from"): {"maxItems": 512},
    (authorization.Rule, "to"): {"maxItems": 512},
    (authorization.RequestAuthenticationSpec, "jwtRules"): {"maxItems": 4096},
    (authorization.RequestAuthenticationSpec, "targetRefs"): {"maxItems": 16},
    (authorization.JWTRule, "jwksUri"): {"maxLength": 2048, "pattern": "^$|^[hH][tT][tT][pP][sS]?://[^\\x00-\\x20]+$"},
    (authorization.JWTRule, "timeout"): {"maxLength": 64},
    (extensions.EnvoyFilterSpec, "configPatches"): {"maxItems": 4096},
    (extensions.ListenerMatch, "portNumber"): _PORT,
    (extensions.RouteConfigurationMatch, "portNumber"): _PORT,
    (extensions.ClusterMatch, "portNumber"): _PORT,
    (extensions.WaypointMatch, "portNumber"): _PORT,
    (extensions.WasmPluginSpec, "url"): {"maxLength": 4096, "pattern": r"^[A-Za-z0-9./][^\x00-\x20#%$]*$"},
    (extensions.WasmPluginSpec, "targetRefs"): {"maxItems": 16},
    (extensions.VMConfig, "env"): {
        "maxItems": 256, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
    },
    (gateway.GatewayPort, "number"): _PORT,
    (gateway.GatewayPort, "targetPort"): _PORT,
    (security.PeerAuthenticationSpec, "portLevelMtls"): {"maxProperties": 1024},
    (service_entry.EntryPort, "number"): _PORT,
    (service_entry.EntryPort, "targetPort"): _PORT,
    (service_entry.EntryPort, "name"): {"maxLength": 256},
    (service_entry.ServiceEntrySpec, "hosts"): {"minItems": 1, "maxItems": 256, "items": {"maxLength": 255}},
    (service_entry.ServiceEntrySpec, "addresses"): {"maxItems": 256, "items": {"maxLength": 64}},
    (service_entry.ServiceEntrySpec, "endpoints"): {"maxItems": 4096},
    (service_entry.ServiceEntrySpec, "ports"): {
        "items": {"required": ["number", "name"]}, "maxItems": 256,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
    },
    (sidecar.SidecarPort, "number"): _PORT,
    (telemetry.TelemetrySpec, "metrics"): {"maxItems": 64},
    (telemetry.TelemetrySpec, "targetRefs"): {"maxItems": 16},
    (telemetry.Metrics, "overrides"): {"maxItems": 64},
    (telemetry.Metrics, "reportingInterval"): {"maxLength": 64},
    (telemetry.MetricsOverride, "tagOverrides"): {"maxProperties": 128},
    (workloads.WorkloadEntrySpec, "address"): {"maxLength": 256},
    (workloads.WorkloadEntrySpec, "network"): {"maxLength": 2048},
    (workloads.WorkloadEntrySpec, "ports"): {"maxProperties": 128, "additionalProperties": _PORT},
    (workloads.HTTPHealthCheck, "port"): _PORT,
    (workloads.TCPHealthCheck, "port"): _PORT,
    (workloads.GRPCHealthCheck, "port"): _PORT,
}  # fmt: skip

#: Rules of ``spec`` of a kind that hold there and not where the same type stands inside of another kind.
SPECS: Mapping[str, tuple[Rule, ...]] = {
    "WorkloadEntry": (
        _ADDRESS[0],
        Rule(
            "!has(self.ports) || self.ports.all(key, key.matches('^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$'))",
            "the name of a port has letters, digits and hyphens",
        ),
    ),
}
