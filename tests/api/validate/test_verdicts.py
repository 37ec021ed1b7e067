"""Rules in which we differed from Istio, each with its own example: what is accepted, refused and warned of."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lateen.api.decode import decode
from lateen.api.networking import VirtualService
from lateen.api.validate import validate
from lateen.names.problems import Severity

_GROUPS = {
    "RequestAuthentication": "security.istio.io/v1", "AuthorizationPolicy": "security.istio.io/v1",
    "Telemetry": "telemetry.istio.io/v1",
    "EnvoyFilter": "networking.istio.io/v1alpha3",
}  # fmt: skip
ROUTE = "route: [{destination: {host: b}}]"


def document(kind: str, spec: str) -> dict[str, Any]:
    return {
        "apiVersion": _GROUPS.get(kind, "networking.istio.io/v1"), "kind": kind,
        "metadata": {"name": "it", "namespace": "shop"}, "spec": yaml.safe_load(spec),
    }  # fmt: skip


def told(kind: str, spec: str, severity: Severity) -> list[str]:
    return [it.path for it in validate(document(kind, spec)) if it.severity is severity]


def vs(rule: str, **more: str) -> str:
    return f"{{hosts: [a], http: [{{{rule}}}]{''.join(f', {k}: {v}' for k, v in more.items())}}}"


def pool(text: str) -> str:
    return f"{{host: a, trafficPolicy: {{connectionPool: {text}}}}}"


def balanced(text: str) -> str:
    return f"{{host: a, trafficPolicy: {{outlierDetection: {{interval: 1s}}, loadBalancer: {text}}}}}"


def entry(text: str) -> str:
    return f"{{hosts: ['*.a.b'], resolution: DYNAMIC_DNS, ports: [{{number: 443, name: tls, protocol: TLS}}]{text}}}"


def listener(tls: str) -> str:
    return f"{{ingress: [{{port: {{number: 80, protocol: HTTPS, name: x}}, tls: {tls}}}]}}"


def server(tls: str) -> str:
    return f"{{servers: [{{port: {{number: 443, name: x, protocol: HTTPS}}, hosts: ['*'], tls: {tls}}}]}}"


FILES = "serverCertificate: /a, privateKey: /b"

ACCEPTED = [
    ("F3", "VirtualService", vs("match: [{uri: {prefix: /old}}], redirect: {prefixRewrite: /new}")),
    ("F3", "VirtualService", vs("redirect: {prefixRewrite: /new, scheme: https}")),
    ("F12", "VirtualService", vs("match: [{uri: {regex: '/v[0-9]+/.*'}}], delegate: {name: d}", gateways="[g]")),
    ("F12", "VirtualService", vs("match: [{headers: {x: {regex: 'a.*'}}}], delegate: {name: d}", gateways="[g]")),
    ("F14", "VirtualService", vs(f"match: [{{headers: {{':authority': {{exact: a.b}}}}}}], {ROUTE}")),
    ("F14", "VirtualService", vs(f"match: [{{withoutHeaders: {{':path': {{exact: /}}}}}}], {ROUTE}")),
    ("F14", "VirtualService", vs(f"headers: {{request: {{set: {{x: '%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%'}}}}}}, {ROUTE}")),
    ("F14", "VirtualService", vs(f"headers: {{response: {{add: {{x: '%START_TIME(%s)% %REQ(X?Y):10% %%'}}}}}}, {ROUTE}")),
    ("F14", "VirtualService", vs(f"match: [{{uri: {{prefix: ''}}}}], {ROUTE}")),
    ("F14", "VirtualService", vs(f"match: [{{withoutHeaders: {{x: {{regex: '*'}}}}}}], {ROUTE}")),
    ("F14", "VirtualService", vs(f"fault: {{abort: {{httpStatus: 600, percentage: {{value: 1}}}}}}, {ROUTE}")),
    ("F14", "VirtualService", vs(f"mirror: {{host: c}}, mirror_percent: 50, {ROUTE}")),
    ("F14", "RequestAuthentication", "{jwtRules: [{issuer: i, jwks_uri: 'https://a.b/c'}]}"),
    ("F14", "DestinationRule", pool("{tcp: {idleTimeout: 0s}}")),
    ("F20", "RequestAuthentication", "{jwtRules: [{jwksUri: 'https://a.b/c'}]}"),
    ("F20", "Sidecar", "{egress: [{hosts: ['*/*', '~shop/*']}]}"),
    ("F20", "Sidecar", "{egress: [{hosts: ['~/*']}]}"),
    ("F20", "EnvoyFilter", "{configPatches: [{applyTo: CLUSTER, match: {proxy: {proxyVersion: '" + "1|" * 1000 + "2'}},"
     " patch: {operation: REMOVE}}]}"),
    ("F20", "Telemetry", "{accessLogging: [{filter: {expression: 'response.code >= 400'}}]}"),
    ("F20", "VirtualService", "{hosts: [outbound_.80_._.a.b], gateways: [g], tls: [{match: [{sniHosts: [outbound_.80_._.a.b]}], "
     + ROUTE + "}]}"),
    ("F20", "DestinationRule", balanced("{simple: ROUND_ROBIN, zoneAwareLbSetting: {enabled: true, failover: [{from: a, to: b}], "
     "failoverPriority: [version=v1]}}")),
    ("F20", "DestinationRule", pool("{http: {http2KeepAlive: {interval: 1s, timeout: 2s}}}")),
    ("all", "VirtualService", vs(f"mirrors: [{{destination: {{host: c}}, percentage: {{value: 0.00001}}}}], {ROUTE}")),
    ("all", "DestinationRule", balanced("{consistentHash: {useSourceIp: true, maglev: {tableSize: 1}}}")),
]  # fmt: skip

REFUSED = [
    ("F3", "VirtualService", vs("redirect: {prefixRewrite: /new, uri: /x}"), "spec.http[0].redirect"),
    ("F3", "VirtualService", vs("redirect: {}"), "spec.http[0].redirect"),
    ("F12", "VirtualService", "{http: [{match: [{uri: {regex: a}}], " + ROUTE + "}]}", "spec.http[0].match[0].uri.regex"),
    ("F14", "VirtualService", vs(f"match: [{{headers: {{x: {{prefix: ''}}}}}}], {ROUTE}"), "spec.http[0].match[0].headers.x.prefix"),
    ("F14", "VirtualService", vs(f"match: [{{headers: {{x: {{regex: '*'}}}}}}], {ROUTE}"), "spec.http[0].match[0].headers.x.regex"),
    ("F14", "VirtualService", vs(f"headers: {{request: {{set: {{x: '%START_TIME(%Y)'}}}}}}, {ROUTE}"), "spec.http[0].headers.request.set.x"),
    ("F14", "VirtualService", vs("directResponse: {status: 600}"), "spec.http[0].directResponse.status"),
    ("F14", "VirtualService", vs(f"mirror: {{host: c}}, mirror_percent: 101, {ROUTE}"), "spec.http[0].mirrorPercent"),
    ("F14", "DestinationRule", pool("{tcp: {idleTimeout: 1us}}"), "spec.trafficPolicy.connectionPool.tcp.idleTimeout"),
    ("F14", "RequestAuthentication", "{jwtRules: [{issuer: i, jwks_uri: 'ftp://a.b/c'}]}", "spec.jwtRules[0].jwksUri"),
    ("F20", "DestinationRule", balanced("{consistentHash: {httpCookie: {name: a, ttl: 0s, attributes: [{name: ''}]}}}"),
     "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.attributes[0].name"),
    ("F20", "DestinationRule", balanced("{consistentHash: {httpCookie: {name: a, ttl: 0s, attributes: [{name: b}, {name: b}]}}}"),
     "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.attributes[1].name"),
    ("F20", "DestinationRule", pool("{http: {http2KeepAlive: {interval: 1s}}}"), "spec.trafficPolicy.connectionPool.http.http2KeepAlive.timeout"),
    ("F20", "DestinationRule", pool("{http: {http2KeepAlive: {timeout: 1s}}}"), "spec.trafficPolicy.connectionPool.http.http2KeepAlive.interval"),
    ("F20", "DestinationRule", balanced("{localityLbSetting: {enabled: true}, zoneAwareLbSetting: {enabled: true}}"), "spec.trafficPolicy.loadBalancer"),
    *(("F20", "DestinationRule", balanced(f"{{zoneAwareLbSetting: {{failoverPriority: ['{label}']}}}}"),
       "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting.failoverPriority[0]")
      for label in ("topology.kubernetes.io/region", "topology.kubernetes.io/zone=a", "topology.istio.io/subzone")),
    *(("F20", "DestinationRule", balanced(f"{{zoneAwareLbSetting: {{failover: [{{from: '{a}', to: '{b}'}}]}}}}"),
       "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting.failover[0]")
      for a, b in (("a", "a"), ("a/b", "c"), ("a", "c/*"), ("*", "c"))),
    ("F20", "ServiceEntry", "{hosts: [a.b], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 'unix:///a'}]}",
     "spec.endpoints[0].address"),
    ("F20", "ServiceEntry", entry(", endpoints: [{address: 1.1.1.1}]"), "spec.endpoints"),
    ("F20", "ServiceEntry", entry(", workloadSelector: {labels: {a: b}}"), "spec.workloadSelector"),
    ("F20", "ServiceEntry", entry("").replace("*.a.b", "a.b"), "spec.hosts[0]"),
    *(("F20", "Sidecar", listener(f"{{mode: SIMPLE, {FILES}, {name}: {value}}}"), f"spec.ingress[0].tls.{name}")
      for name, value in (("credentialNames", "[a]"), ("tlsCertificates", "[{}]"), ("caCertCredentialName", "a"), ("credentialName", "a"))),
    ("F20", "Telemetry", "{accessLogging: [{filter: {expression: 'response.code >>= 400'}}]}", "spec.accessLogging[0].filter.expression"),
    ("F20", "VirtualService", "{hosts: ['*.b'], gateways: [g], tls: [{match: [{sniHosts: [outbound_x.b]}], " + ROUTE + "}]}",
     "spec.tls[0].match[0].sniHosts[0]"),
    ("all", "AuthorizationPolicy", "{rules: [{from: []}]}", "spec.rules[0].from"),
    ("all", "AuthorizationPolicy", "{rules: [{to: []}]}", "spec.rules[0].to"),
    ("all", "ServiceEntry", "{hosts: [a.b], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{network: n}]}",
     "spec.endpoints[0].address"),
    ("F20", "Sidecar", "{egress: [{hosts: ['~a b/*']}]}", "spec.egress[0].hosts[0]"),
]  # fmt: skip

WARNED = [
    ("VirtualService", vs(f"match: [{{uri: {{prefix: ''}}}}], {ROUTE}"), "spec.http[0].match[0].uri.prefix"),
    ("Gateway", server("{mode: PASSTHROUGH, credentialNames: [a]}"), "spec.servers[0].tls"),
    ("Gateway", server(f"{{mode: PASSTHROUGH, {FILES}}}"), "spec.servers[0].tls"),
    ("Gateway", server("{mode: SIMPLE, credentialNames: [a, b, c]}"), "spec.servers[0].tls.credentialNames"),
    ("Gateway", server(f"{{mode: SIMPLE, tlsCertificates: [{', '.join(['{' + FILES + '}'] * 3)}]}}"), "spec.servers[0].tls.tlsCertificates"),
    ("RequestAuthentication", '{jwtRules: [{issuer: i, jwks: \'{"keys": [{"kty": "RSA", "d": "x"}]}\'}]}', "spec.jwtRules[0].jwks"),
    ("ServiceEntry", "{hosts: [a.b], ports: [{number: 1, name: tcp, protocol: TCP}]}", "spec.ports[0]"),
    ("ServiceEntry", "{hosts: [a.b], resolution: NONE, ports: [{number: 1, name: x}]}", "spec.ports[0]"),
    ("Sidecar", "{egress: [{hosts: [a/b.c, '*/*']}]}", "spec.egress[0].hosts[1]"),
    ("Sidecar", "{egress: [{hosts: [a/b.c, 'a/*']}]}", "spec.egress[0].hosts[1]"),
    ("VirtualService", vs(f"fault: {{delay: {{percentage: {{value: 1}}}}}}, {ROUTE}"), "spec.http[0].fault.delay"),
    ("DestinationRule", balanced("{consistentHash: {useSourceIp: true}, zoneAwareLbSetting: {enabled: true}}"),
     "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting"),
]  # fmt: skip


@pytest.mark.finding("conformance F3")
@pytest.mark.finding("conformance F12")
@pytest.mark.finding("conformance F14")
@pytest.mark.finding("conformance F20")
@pytest.mark.parametrize(("row", "kind", "spec"), ACCEPTED)
def test_what_is_valid_is_accepted(row: str, kind: str, spec: str) -> None:
    assert told(kind, spec, Severity.ERROR) == [], row


@pytest.mark.finding("conformance F3")
@pytest.mark.finding("conformance F12")
@pytest.mark.finding("conformance F14")
@pytest.mark.finding("conformance F20")
@pytest.mark.parametrize(("row", "kind", "spec", "path"), REFUSED)
def test_what_is_not_is_refused_at_its_place(row: str, kind: str, spec: str, path: str) -> None:
    assert told(kind, spec, Severity.ERROR) == [path], row


@pytest.mark.finding("conformance F20")
@pytest.mark.parametrize(("kind", "spec", "path"), WARNED)
def test_what_is_warned_of(kind: str, spec: str, path: str) -> None:
    assert told(kind, spec, Severity.WARNING) == [path]
    assert told(kind, spec, Severity.ERROR) == []


@pytest.mark.finding("conformance F20")
def test_an_envoy_filter_is_not_warned_of_without_a_reason() -> None:
    spec = "{configPatches: [{applyTo: CLUSTER, patch: {operation: REMOVE}}]}"
    assert told("EnvoyFilter", spec, Severity.WARNING) == []


@pytest.mark.finding("conformance F14")
def test_names_of_old_say_the_same() -> None:
    old = decode(document("VirtualService", vs(f"mirror: {{host: c}}, mirror_percent: 50, {ROUTE}")))
    new = decode(document("VirtualService", vs(f"mirror: {{host: c}}, mirrorPercent: 50, {ROUTE}")))
    assert isinstance(old, VirtualService)
    assert old == new
    assert old.spec.http[0].mirror_percent == 50
