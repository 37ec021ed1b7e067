"""How does Kubernetes learn of Istio's kinds? CustomResourceDefinitions with Istio's names, versions and columns.

The schema lets everything in a spec pass: what it means is judged by the validating webhook, which names field and
reason; kinds that Lateen only stores are kept as they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class _Definition(NamedTuple):
    group: str
    kind: str
    plural: str
    short: tuple[str, ...]
    versions: tuple[str, ...]  # the first is stored
    columns: tuple[tuple[str, str, str], ...]  # name, JSON path, description


_NET = ("v1", "v1beta1", "v1alpha3")
_SEC = ("v1", "v1beta1")
_NETWORKING, _SECURITY = "networking.istio.io", "security.istio.io"
_HOST = ("Host", ".spec.host", "The name of a service from the service registry")
_HOSTS = ("Hosts", ".spec.hosts", "The destination hosts to which traffic is being sent")
_ADDRESS = ("Address", ".spec.address", "Address associated with the network endpoint")

_DEFINITIONS = (
    _Definition(_NETWORKING, "VirtualService", "virtualservices", ("vs",), _NET,
                (("Gateways", ".spec.gateways", "The names of gateways and sidecars that should apply these routes"), _HOSTS)),
    _Definition(_NETWORKING, "DestinationRule", "destinationrules", ("dr",), _NET, (_HOST,)),
    _Definition(_NETWORKING, "Gateway", "gateways", ("gw",), _NET, ()),
    _Definition(_NETWORKING, "ServiceEntry", "serviceentries", ("se",), _NET,
                (_HOSTS, ("Location", ".spec.location", "Inside or outside of the mesh"),
                 ("Resolution", ".spec.resolution", "How the addresses are found"))),
    _Definition(_NETWORKING, "Sidecar", "sidecars", (), _NET, ()),
    _Definition(_NETWORKING, "WorkloadEntry", "workloadentries", ("we",), _NET, (_ADDRESS,)),
    _Definition(_NETWORKING, "WorkloadGroup", "workloadgroups", ("wg",), _NET, ()),
    _Definition(_NETWORKING, "EnvoyFilter", "envoyfilters", (), ("v1alpha3",), ()),
    _Definition(_NETWORKING, "ProxyConfig", "proxyconfigs", (), ("v1beta1",), ()),
    _Definition(_SECURITY, "PeerAuthentication", "peerauthentications", ("pa",), _SEC,
                (("Mode", ".spec.mtls.mode", "Defines the mTLS mode used for peer authentication"),)),
    _Definition(_SECURITY, "AuthorizationPolicy", "authorizationpolicies", ("ap",), _SEC,
                (("Action", ".spec.action", "The operation to take"),)),
    _Definition(_SECURITY, "RequestAuthentication", "requestauthentications", ("ra",), _SEC, ()),
    _Definition("telemetry.istio.io", "Telemetry", "telemetries", ("telemetry",), ("v1", "v1alpha1"), ()),
    _Definition("extensions.istio.io", "WasmPlugin", "wasmplugins", (), ("v1alpha1",), ()),
)  # fmt: skip


def manifests() -> list[dict[str, Any]]:
    """One CustomResourceDefinition for each of Istio's kinds."""
    return [_manifest(it) for it in _DEFINITIONS]


def _manifest(it: _Definition) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{it.plural}.{it.group}", "labels": {"app": "istio-pilot", "release": "istio"}},
        "spec": {
            "group": it.group,
            "scope": "Namespaced",
            "names": {
                "kind": it.kind, "listKind": f"{it.kind}List", "plural": it.plural, "singular": it.kind.lower(),
                "categories": ["istio-io", it.group.replace(".", "-").removesuffix("-io") + "-io"],
                **({"shortNames": list(it.short)} if it.short else {}),
            },
            "versions": [_version(it, name, stored=n == 0) for n, name in enumerate(it.versions)],
        },
    }  # fmt: skip


def _version(it: _Definition, name: str, *, stored: bool) -> dict[str, Any]:
    columns = [
        {"name": title, "type": "string", "jsonPath": path, "description": said}
        for title, path, said in it.columns
    ]
    age = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "name": name,
        "served": True,
        "storage": stored,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [*columns, age],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}},
    }
