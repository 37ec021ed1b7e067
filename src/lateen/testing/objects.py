"""How does an object in order look? One of every kind of Istio, to change things in."""

from __future__ import annotations

from typing import Any

import yaml

_GROUPS = {
    "networking.istio.io/v1": ("VirtualService", "DestinationRule", "Gateway", "ServiceEntry", "Sidecar",
                                "WorkloadEntry", "WorkloadGroup"),
    "networking.istio.io/v1alpha3": ("EnvoyFilter",), "networking.istio.io/v1beta1": ("ProxyConfig",),
    "security.istio.io/v1": ("PeerAuthentication", "AuthorizationPolicy", "RequestAuthentication"),
    "telemetry.istio.io/v1": ("Telemetry",), "extensions.istio.io/v1alpha1": ("WasmPlugin", "TrafficExtension"),
}  # fmt: skip
_VERSIONS = {kind: version for version, kinds in _GROUPS.items() for kind in kinds}

#: Kind -> a spec in order, as YAML.
SPECS = {
    "VirtualService": """
        hosts: [reviews]
        http:
        - name: first
          match: [{uri: {prefix: /api}, headers: {end-user: {exact: jason}}}]
          route:
          - {destination: {host: reviews, subset: v2, port: {number: 80}}, weight: 90}
          - {destination: {host: reviews, subset: v1}, weight: 10}
          timeout: 0s
          retries: {attempts: 3, perTryTimeout: 2s, retryOn: "5xx,reset,503"}
        - route: [{destination: {host: reviews}}]
    """,
    "DestinationRule": """
        host: reviews
        trafficPolicy:
          loadBalancer: {consistentHash: {httpCookie: {name: u, ttl: 0s}}}
          connectionPool: {tcp: {maxConnections: 1}, http: {http2MaxRequests: 2}}
          outlierDetection: {consecutive5xxErrors: 7, interval: 5m, baseEjectionTime: 15m}
          tls: {mode: ISTIO_MUTUAL}
          portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]
        subsets: [{name: v1, labels: {version: v1}}]
    """,
    "Gateway": """
        selector: {istio: ingressgateway}
        servers:
        - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"], tls: {httpsRedirect: true}}
        - {port: {number: 443, name: tls, protocol: HTTPS}, hosts: ["a/*.b.com"], tls: {mode: SIMPLE, credentialName: c}}
    """,
    "PeerAuthentication": "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {'80': {mode: DISABLE}}}",
    "AuthorizationPolicy": """
        action: DENY
        rules:
        - from: [{source: {ipBlocks: [10.0.0.0/8]}}]
          to: [{operation: {ports: ["80"], paths: ["/a/{*}"]}}]
          when: [{key: "request.headers[x]", values: [y]}]
    """,
    "RequestAuthentication": "{jwtRules: [{issuer: i, jwksUri: 'https://a.b/keys'}]}",
    "ServiceEntry": """
        hosts: [api.example.com]
        ports: [{number: 443, name: tls, protocol: TLS}]
        resolution: STATIC
        endpoints: [{address: 10.0.0.1, ports: {tls: 8443}}]
    """,
    "Sidecar": """
        ingress: [{port: {number: 80, protocol: HTTP, name: http}, defaultEndpoint: "127.0.0.1:8080"}]
        egress: [{hosts: ["./*", "istio-system/*"]}]
    """,
    "WorkloadEntry": "{address: 10.0.0.1, ports: {http: 80}, labels: {app: web}}",
    "WorkloadGroup": "{template: {serviceAccount: web}, probe: {httpGet: {port: 80}}}",
    "Telemetry": "{tracing: [{customTags: {a: {literal: {value: b}}}}], accessLogging: [{providers: [{name: x}]}]}",
    "WasmPlugin": "{url: 'oci://registry.example/filter', vmConfig: {env: [{name: A, value: b}]}}",
    "EnvoyFilter": """
        configPatches:
        - applyTo: HTTP_FILTER
          match: {listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}
          patch: {operation: INSERT_BEFORE, value: {name: x}}
    """,
    "ProxyConfig": "{concurrency: 2}",
    "TrafficExtension": """
        selector: {matchLabels: {app: web}}
        phase: AUTHN
        match: [{mode: SERVER, ports: [{number: 80}]}]
        lua: {inlineCode: "function envoy_on_request(it) end"}
    """,
}


def document(kind: str) -> dict[str, Any]:
    """The object ``shop/it`` of a kind, a new one for every call."""
    spec = yaml.safe_load(SPECS[kind])
    return {
        "apiVersion": _VERSIONS[kind],
        "kind": kind,
        "metadata": {"name": "it", "namespace": "shop"},
        "spec": spec,
    }
