"""Each rule: what is wrong, where, and what to do; and what is only warned of."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest

from lateen.api.validate import RULES, validate
from lateen.names.problems import Severity
from lateen.testing.objects import document

Object = dict[str, Any]

#: kind, where something is put, what (DELETE removes it), the path of the problem, words of its reason.
DELETE = object()
CASES: list[tuple[str, str, Any, str, str]] = [
    # VirtualService
    ("VirtualService", "hosts.0", "*", "spec.hosts[0]", "gateway"),
    ("VirtualService", "hosts", ["*.com", "a.com"], "spec.hosts[1]", "duplicates"),
    ("VirtualService", "hosts.0", "a b", "spec.hosts[0]", "host name"),
    ("VirtualService", "hosts", [], "spec.http[0].delegate", ""),
    ("VirtualService", "gateways", ["a/b/c"], "spec.gateways[0]", "DNS label"),
    ("VirtualService", "http", [], "spec", "no routes"),
    ("VirtualService", "exportTo", [".", "shop"], "spec.exportTo[1]", "twice"),
    ("VirtualService", "exportTo", ["*", "a"], "spec.exportTo", "alone"),
    ("VirtualService", "http.0.route.0.weight", -1, "spec.http[0].route[0].weight", "negative"),
    ("VirtualService", "http.0.route.0.weight", "a", "spec.http[0].route[0].weight", "whole number"),
    ("VirtualService", "http.0.route.0.destination.host", DELETE, "spec.http[0].route[0].destination.host", "required"),
    ("VirtualService", "http.0.route.0.destination.host", "*", "spec.http[0].route[0].destination.host", "one host"),
    ("VirtualService", "http.0.route.0.destination.subset", "v_1", "spec.http[0].route[0].destination.subset", "DNS label"),
    ("VirtualService", "http.0.route.0.destination.port.number", 0, "spec.http[0].route[0].destination.port.number", "1-65535"),
    ("VirtualService", "http.0.route.0.headers", {"request": {"remove": ["Host"]}}, "spec.http[0].route[0].headers.request.remove[0]", ""),
    ("VirtualService", "http.0.headers", {"response": {"set": {"x": "50%"}}}, "spec.http[0].headers.response.set.x", "%%"),
    ("VirtualService", "http.0.route", DELETE, "spec.http[0]", "required"),
    ("VirtualService", "http.0.redirect", {"uri": "/"}, "spec.http[0]", "both route and redirect"),
    ("VirtualService", "http.1", {"redirect": {}}, "spec.http[1]", ""),
    ("VirtualService", "http.1", {"redirect": {"uri": "/", "redirectCode": 200}}, "spec.http[1].redirect.redirectCode", "3xx"),
    ("VirtualService", "http.1", {"redirect": {"scheme": "ftp"}}, "spec.http[1].redirect.scheme", "https"),
    ("VirtualService", "http.1", {"directResponse": {"status": 99}}, "spec.http[1].directResponse.status", "200-599"),
    ("VirtualService", "http.1", {"directResponse": {"status": 503}, "fault": {"abort": {"httpStatus": 500}}}, "spec.http[1].fault", "goes nowhere"),
    ("VirtualService", "http.1", {"delegate": {}}, "spec.http[1].delegate.name", "required"),
    ("VirtualService", "http.0.timeout", "1us", "spec.http[0].timeout", "1ms"),
    ("VirtualService", "http.0.timeout", "soon", "spec.http[0].timeout", "duration"),
    ("VirtualService", "http.0.retries.attempts", 0, "spec.http[0].retries.attempts", "never"),
    ("VirtualService", "http.0.retries.retryOn", "5xx,often", "spec.http[0].retries.retryOn", "often"),
    ("VirtualService", "http.0.match.0.uri", {"regex": "(?=a)"}, "spec.http[0].match[0].uri.regex", "RE2"),
    ("VirtualService", "http.0.match.0.uri", {"regex": "("}, "spec.http[0].match[0].uri.regex", "not a regular"),
    ("VirtualService", "http.0.match.0.uri", {"prefix": "/", "exact": "/"}, "spec.http[0].match[0].uri", "only one of"),
    ("VirtualService", "http.0.match.0.headers", {"a b": {}}, "spec.http[0].match[0].headers[a b]", "header name"),
    ("VirtualService", "http.0.match.0.headers", {"@request.auth.claims.x": {}}, "spec.http[0].match[0].headers[@request.auth.claims.x]", "gateways"),
    ("VirtualService", "http.0.match.0.sourceLabels", {"a": "b c"}, "spec.http[0].match[0].sourceLabels", "label"),
    ("VirtualService", "http.0.fault", {}, "spec.http[0].fault", "says nothing"),
    ("VirtualService", "http.0.fault", {"abort": {"grpcStatus": "BAD"}}, "spec.http[0].fault.abort.grpcStatus", "NOT_FOUND"),
    ("VirtualService", "http.0.fault", {"abort": {"httpStatus": 700}}, "spec.http[0].fault.abort.httpStatus", "200-599"),
    ("VirtualService", "http.0.fault", {"delay": {"percentage": {"value": 200}, "fixedDelay": "1s"}}, "spec.http[0].fault.delay.percentage.value", "0-100"),
    ("VirtualService", "http.0.fault", {"delay": {"exponentialDelay": "1s"}}, "spec.http[0].fault.delay.exponentialDelay", "fixedDelay"),
    ("VirtualService", "http.0.rewrite", {}, "spec.http[0].rewrite", "says nothing"),
    ("VirtualService", "http.0.rewrite", {"uriRegexRewrite": {"match": "a"}}, "spec.http[0].rewrite.uriRegexRewrite.rewrite", "required"),
    ("VirtualService", "http.0.rewrite", {"uri": "/a\nb"}, "spec.http[0].rewrite.uri", "line breaks"),
    ("VirtualService", "http.0.rewrite", {"authority": "a\rb"}, "spec.http[0].rewrite.authority", "line breaks"),
    ("VirtualService", "http.0.rewrite", {"uriRegexRewrite": {"match": "a", "rewrite": "b\n"}}, "spec.http[0].rewrite.uriRegexRewrite.rewrite", "line breaks"),
    ("VirtualService", "http.1", {"redirect": {"authority": "a\nb"}}, "spec.http[1].redirect.authority", "line breaks"),
    ("VirtualService", "http.0.match.0.queryParams", {"": {"exact": "a"}}, "spec.http[0].match[0].queryParams[]", "1 to 1024 bytes"),
    ("VirtualService", "http.0.corsPolicy", {"allowMethods": ["GRAB"]}, "spec.http[0].corsPolicy.allowMethods[0]", "method"),
    ("VirtualService", "http.0.corsPolicy", {"maxAge": "1500ms"}, "spec.http[0].corsPolicy.maxAge", "whole seconds"),
    ("VirtualService", "http.0.mirrors", [{"destination": {"host": "x"}, "percentage": {"value": 101}}], "spec.http[0].mirrors[0].percentage.value", "0-100"),
    ("VirtualService", "tls", [{"route": [{"destination": {"host": "x"}}]}], "spec.tls[0].match", "SNI"),
    ("VirtualService", "tls", [{"match": [{"sniHosts": ["b.c"]}], "route": [{"destination": {"host": "x"}}]}], "spec.tls[0].match[0].sniHosts[0]", "spec.hosts"),
    ("VirtualService", "tcp", [{"match": [{"destinationSubnets": ["x"]}]}], "spec.tcp[0].match[0].destinationSubnets[0]", "10.0.0.0/8"),
    ("VirtualService", "tcp", [{}], "spec.tcp[0].route", "required"),
    ("VirtualService", "http.0.timeOut", "1s", "spec.http[0].timeOut", "did you mean timeout?"),
    ("VirtualService", "htpp", [], "spec.htpp", "did you mean http?"),
    # DestinationRule
    ("DestinationRule", "host", DELETE, "spec.host", "required"),
    ("DestinationRule", "host", "", "spec.host", "empty"),
    ("DestinationRule", "trafficPolicy.loadBalancer", {"consistentHash": {"httpHeaderName": "a\nb"}}, "spec.trafficPolicy.loadBalancer.consistentHash.httpHeaderName", "not a header name"),
    ("DestinationRule", "trafficPolicy.loadBalancer", {"consistentHash": {"useSourceIp": True, "ringHash": {"minimumRingSize": 9000000}}}, "spec.trafficPolicy.loadBalancer.consistentHash.ringHash.minimumRingSize", "at most 8388608"),
    ("DestinationRule", "trafficPolicy.loadBalancer", {"consistentHash": {"httpCookie": {"name": "a", "path": "/\n"}}}, "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.path", "line breaks"),
    ("DestinationRule", "trafficPolicy.tls", {"mode": "SIMPLE", "sni": "a" * 256}, "spec.trafficPolicy.tls.sni", "255 bytes"),
    ("DestinationRule", "trafficPolicy.connectionPool", {"tcp": {"connectTimeout": "99999999h"}}, "spec.trafficPolicy.connectionPool.tcp.connectTimeout", "10000 years"),
    ("DestinationRule", "trafficPolicy", {}, "spec.trafficPolicy", "empty"),
    ("DestinationRule", "subsets.1", {"name": "v1"}, "spec.subsets[1].name", "twice"),
    ("DestinationRule", "subsets.0.name", "v_1", "spec.subsets[0].name", "DNS label"),
    ("DestinationRule", "subsets.0.labels", {"a b": "c"}, "spec.subsets[0].labels", "key of a label"),
    ("DestinationRule", "trafficPolicy.loadBalancer", {"simple": "BEST"}, "spec.trafficPolicy.loadBalancer.simple", "RANDOM"),
    ("DestinationRule", "trafficPolicy.loadBalancer.simple", "RANDOM", "spec.trafficPolicy.loadBalancer", "only one of"),
    ("DestinationRule", "trafficPolicy.loadBalancer.consistentHash.maglev", {"tableSize": 10}, "spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize", "prime"),
    ("DestinationRule", "trafficPolicy.loadBalancer.consistentHash.httpCookie.name", "", "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.name", "required"),
    ("DestinationRule", "trafficPolicy.loadBalancer.localityLbSetting", {"distribute": [{"from": "a", "to": {"b": 50}}]}, "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to", "100"),
    ("DestinationRule", "trafficPolicy.loadBalancer.localityLbSetting", {"failover": [{"from": "a", "to": "a"}]}, "spec.trafficPolicy.loadBalancer.localityLbSetting.failover[0]", "different"),
    ("DestinationRule", "trafficPolicy.loadBalancer.localityLbSetting", {"distribute": [{"from": "a/*", "to": {"b/*": 100}}, {"from": "a/b", "to": {"c": 100}}]}, "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute", "overlaps"),
    ("DestinationRule", "trafficPolicy.connectionPool", {}, "spec.trafficPolicy.connectionPool", "empty"),
    ("DestinationRule", "trafficPolicy.connectionPool.http.maxRetries", -1, "spec.trafficPolicy.connectionPool.http.maxRetries", "negative"),
    ("DestinationRule", "trafficPolicy.connectionPool.tcp.connectTimeout", "0s", "spec.trafficPolicy.connectionPool.tcp.connectTimeout", "1ms"),
    ("DestinationRule", "trafficPolicy.outlierDetection.maxEjectionPercent", 101, "spec.trafficPolicy.outlierDetection.maxEjectionPercent", "0-100"),
    ("DestinationRule", "trafficPolicy.outlierDetection.consecutiveLocalOriginFailures", 1, "spec.trafficPolicy.outlierDetection.consecutiveLocalOriginFailures", "split"),
    ("DestinationRule", "trafficPolicy.tls", {"mode": "MUTUAL"}, "spec.trafficPolicy.tls.privateKey", "requires"),
    ("DestinationRule", "trafficPolicy.portLevelSettings.0.port", DELETE, "spec.trafficPolicy.portLevelSettings[0].port", "required"),
    ("DestinationRule", "trafficPolicy.tunnel", {"targetHost": "a", "targetPort": 0}, "spec.trafficPolicy.tunnel.targetPort", "1-65535"),
    ("DestinationRule", "workloadSelector", {"matchLabels": {"a": "*"}}, "spec.workloadSelector.matchLabels.a", "wildcard"),
    # Gateway
    ("Gateway", "servers", [], "spec.servers", "required"),
    ("Gateway", "servers.0.hosts", [], "spec.servers[0].hosts", "required"),
    ("Gateway", "servers.0.hosts.0", "short", "spec.servers[0].hosts[0]", "in full"),
    ("Gateway", "servers.0.hosts.0", "*foo.com", "spec.servers[0].hosts[0]", "wildcard"),
    ("Gateway", "servers.0.port.protocol", "HTPP", "spec.servers[0].port.protocol", "unknown protocol"),
    ("Gateway", "servers.0.port.number", 70000, "spec.servers[0].port.number", "1-65535"),
    ("Gateway", "servers.0.port.name", DELETE, "spec.servers[0].port.name", "required"),
    ("Gateway", "servers.1.port.name", "http", "spec.servers[1].port.name", "unique"),
    ("Gateway", "servers.1.tls", DELETE, "spec.servers[1].tls", "required"),
    ("Gateway", "servers.1.tls", {"mode": "SIMPLE"}, "spec.servers[1].tls.serverCertificate", "credentialName"),
    ("Gateway", "servers.1.tls.mode", "ISTIO_MUTUAL", "spec.servers[1].tls.credentialName", "leave it out"),
    ("Gateway", "servers.0.tls", {"mode": "SIMPLE", "credentialName": "c"}, "spec.servers[0].tls", "not encrypted"),
    ("Gateway", "servers.0.bind", "nowhere", "spec.servers[0].bind", "IP address"),
    # Security
    ("PeerAuthentication", "selector", DELETE, "spec.portLevelMtls", "selector"),
    ("PeerAuthentication", "portLevelMtls", {"http": {}}, "spec.portLevelMtls.http", "1-65535"),
    ("PeerAuthentication", "mtls.mode", "SOMETIMES", "spec.mtls.mode", "PERMISSIVE"),
    ("AuthorizationPolicy", "rules", DELETE, "spec.rules", "never matches"),
    ("AuthorizationPolicy", "action", "CUSTOM", "spec.provider", "required"),
    ("AuthorizationPolicy", "provider", {"name": "x"}, "spec.provider", "CUSTOM only"),
    ("AuthorizationPolicy", "rules.0.from.0.source", {}, "spec.rules[0].from[0].source", "empty"),
    ("AuthorizationPolicy", "rules.0.from.0.source.ipBlocks", ["10.0.0.0/99"], "spec.rules[0].from[0].source.ipBlocks[0]", "range"),
    ("AuthorizationPolicy", "rules.0.from.0.source.principals", [""], "spec.rules[0].from[0].source.principals", "remove it"),
    ("AuthorizationPolicy", "rules.0.to.0.operation.ports", ["http"], "spec.rules[0].to[0].operation.ports[0]", "0-65535"),
    ("AuthorizationPolicy", "rules.0.to.0.operation.paths", ["/{*}/{name}"], "spec.rules[0].to[0].operation.paths[0]", "template"),
    ("AuthorizationPolicy", "rules.0.when.0.key", "source.colour", "spec.rules[0].when[0].key", "unknown attribute"),
    ("AuthorizationPolicy", "rules.0.when.0.key", "request.headers", "spec.rules[0].when[0].key", "[name]"),
    ("AuthorizationPolicy", "rules.0.when.0.values", DELETE, "spec.rules[0].when[0]", "required"),
    ("AuthorizationPolicy", "targetRefs", [{"kind": "Pod", "name": "x"}], "spec.targetRefs[0]", "Service"),
    ("RequestAuthentication", "jwtRules.0.jwksUri", "ftp://a", "spec.jwtRules[0].jwksUri", "scheme"),
    ("RequestAuthentication", "jwtRules.0", {"issuer": "i", "jwks": "{}"}, "spec.jwtRules[0].jwks", "Key Set"),
    # workloads outside
    ("ServiceEntry", "hosts", [], "spec.hosts", "required"),
    ("ServiceEntry", "hosts", ["a.b", "c.d"], "", ""),
    ("ServiceEntry", "ports.0.protocol", "CARRIER-PIGEON", "spec.ports[0].protocol", "unknown protocol"),
    ("ServiceEntry", "ports.0.name", DELETE, "spec.ports[0].name", "required"),
    ("ServiceEntry", "endpoints.0.address", "api.example.com", "spec.endpoints[0].address", "IP address"),
    ("ServiceEntry", "endpoints.0.ports", {"other": 1}, "spec.endpoints[0].ports.other", "port of the service"),
    ("ServiceEntry", "resolution", "NONE", "spec.endpoints", "NONE"),
    ("WorkloadEntry", "labels", {"a": "*"}, "spec.labels", "value of a label"),
    ("WorkloadGroup", "probe", {}, "spec.probe", "needs one of"),
    ("WorkloadGroup", "template", DELETE, "spec.template", "required"),
    # Sidecar
    ("Sidecar", "egress.0.hosts", ["reviews"], "spec.egress[0].hosts[0]", "namespace/host"),
    ("Sidecar", "egress.0.hosts", DELETE, "spec.egress[0].hosts", "required"),
    ("Sidecar", "egress.1", {"hosts": ["./*"]}, "spec.egress[0].port", "last listener"),
    ("Sidecar", "ingress.0.defaultEndpoint", "8080", "spec.ingress[0].defaultEndpoint", "127.0.0.1:PORT"),
    ("Sidecar", "ingress.0.port", DELETE, "spec.ingress[0].port", "required"),
    ("Sidecar", "outboundTrafficPolicy", {"egressProxy": {"host": "a.b", "port": {"number": 1}}}, "spec.outboundTrafficPolicy.egressProxy", "ALLOW_ANY"),
    # the rest
    ("Telemetry", "tracing.0.customTags.a", {}, "spec.tracing[0].customTags.a", "needs one of"),
    ("Telemetry", "tracing.0.randomSamplingPercentage", 101, "spec.tracing[0].randomSamplingPercentage", "<= 100"),
    ("WasmPlugin", "url", DELETE, "spec.url", "required"),
    ("EnvoyFilter", "configPatches.0.patch.value", DELETE, "spec.configPatches[0].patch.value", "required"),
    ("EnvoyFilter", "configPatches.0.applyTo", "CLUSTER", "spec.configPatches[0].match", "cluster only"),
    ("ProxyConfig", "concurrency", "two", "spec.concurrency", "whole number"),
]  # fmt: skip


def changed(kind: str, path: str, value: Any) -> Object:
    made = document(kind)
    *parents, last = (int(it) if it.isdigit() else it for it in path.split("."))
    place: Any = made["spec"]
    for it in parents:
        place = place[it]
    if value is DELETE:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return made


def errors(it: Object) -> list[tuple[str, str]]:
    return [(one.path, one.message) for one in validate(it) if one.severity is Severity.ERROR]


def warnings(it: Object) -> list[tuple[str, str]]:
    return [(one.path, one.message) for one in validate(it) if one.severity is Severity.WARNING]


@pytest.mark.parametrize("kind", sorted(RULES))
def test_what_is_in_order_passes(kind: str) -> None:
    assert errors(document(kind)) == []
    assert warnings(document(kind)) == []


@pytest.mark.parametrize(("kind", "where", "value", "path", "said"), [it for it in CASES if it[3] and it[4]])
def test_what_is_wrong_is_told_with_its_path(kind: str, where: str, value: Any, path: str, said: str) -> None:
    found = errors(changed(kind, where, value))
    assert any(at == path and said in message for at, message in found), found


@pytest.mark.parametrize(("kind", "where", "value", "path", "said"), CASES)
def test_every_path_leads_into_the_document(kind: str, where: str, value: Any, path: str, said: str) -> None:
    """All parts but the last exist, so that a reader finds the place."""
    it = changed(kind, where, value)
    for at, _ in errors(it):
        place: Any = it
        for part in list(parts(at))[:-1]:
            try:
                place = place[part]
            except (KeyError, IndexError, TypeError):
                raise AssertionError(f"{at}: there is no {part}") from None


def parts(path: str) -> Iterator[str | int]:
    for name, key in re.findall(r"([^.\[\]]+)(?=[.\[]|$)|\[([^\]]+)\]", path):
        yield int(key) if key.isdigit() else key or name


@pytest.mark.parametrize(
    ("kind", "where", "value", "path"),
    [
        ("VirtualService", "http.1.match", [{"uri": {"prefix": "/api/v1"}, "headers": {"end-user": {"exact": "jason"}}}], "spec.http[1]"),
        ("VirtualService", "http.0.match", DELETE, "spec.http[1]"),
        ("VirtualService", "gateways", ["gw.shop.svc.cluster.local", "mesh"], "spec.gateways[0]"),
        ("VirtualService", "http.0.fault", {"abort": {}}, "spec.http[0].fault.abort"),
        ("VirtualService", "http.0.mirrorPercent", 5, "spec.http[0].mirrorPercent"),
        ("DestinationRule", "trafficPolicy.outlierDetection.consecutiveErrors", 5, "spec.trafficPolicy.outlierDetection.consecutiveErrors"),
        ("DestinationRule", "workloadSelector", {}, "spec.workloadSelector"),
        ("Gateway", "servers.1.tls.cipherSuites", ["ROT13"], "spec.servers[1].tls.cipherSuites[0]"),
        ("Gateway", "servers.1.tls.minProtocolVersion", "TLSV1_0", "spec.servers[1].tls.minProtocolVersion"),
        ("AuthorizationPolicy", "rules.0.to.0.operation", {"paths": ["/"]}, "spec.rules[0]"),
        ("ServiceEntry", "workloadSelector", {}, "spec.workloadSelector"),
        ("Sidecar", "egress.0.hosts", ["./*", "./a.b"], "spec.egress[0].hosts[1]"),
        ("Telemetry", "tracing.1", {}, "spec.tracing"),
    ],
)  # fmt: skip
def test_what_istio_warns_of_is_accepted(kind: str, where: str, value: Any, path: str) -> None:
    it = changed(kind, where, value)
    assert path in [at for at, _ in warnings(it)]
    if (kind, where) != ("ServiceEntry", "workloadSelector"):
        assert errors(it) == []


def test_rules_that_are_reached_are_not_warned_of() -> None:
    it = document("VirtualService")
    route = it["spec"]["http"][1]
    narrow = {
        "uri": {"prefix": "/api"},
        "headers": {"end-user": {"exact": "jason"}},
        "method": {"exact": "GET"},
    }
    wide = {"uri": {"prefix": "/api"}}
    for first, second in ((narrow, wide), (wide, {"uri": {"prefix": "/ap"}}), (wide, {"uri": {"regex": "/api.*"}}),
                          ({**wide, "withoutHeaders": {"x": {}}}, wide), ({**wide, "port": 80}, wide)):  # fmt: skip
        it["spec"]["http"] = [{**route, "match": [first]}, {**route, "match": [second]}]
        assert warnings(it) == [], (first, second)


@pytest.mark.parametrize(
    ("annotations", "kind", "wrong"),
    [
        ({"istio.io/dry-run": "true"}, "AuthorizationPolicy", False),
        ({"istio.io/dry-run": "perhaps"}, "AuthorizationPolicy", True),
        ({"istio.io/dry-run": "true"}, "Gateway", True),
    ],
)
def test_trial_runs_are_for_authorization(annotations: dict[str, str], kind: str, wrong: bool) -> None:
    it = document(kind)
    it["metadata"]["annotations"] = annotations
    assert [at for at, _ in errors(it)] == (["metadata.annotations[istio.io/dry-run]"] if wrong else [])


def test_all_that_is_wrong_is_told_at_once() -> None:
    it = document("VirtualService")
    first, second = it["spec"]["http"]
    first["timeout"] = "1us"
    first["retries"]["perTryTimeout"] = "soon"
    first["route"][0]["destination"]["host"] = 7
    first["match"][0]["uri"] = "/api"
    second["route"][0]["weight"] = -1
    it["spec"]["hots"] = []
    assert sorted(at for at, _ in errors(it)) == [
        "spec.hots", "spec.http[0].match[0].uri", "spec.http[0].retries.perTryTimeout",
        "spec.http[0].route[0].destination.host", "spec.http[0].timeout", "spec.http[1].route[0].weight",
    ]  # fmt: skip


def test_what_is_required_and_wrong_is_told_once() -> None:
    it = document("DestinationRule")
    it["spec"]["host"] = 7
    assert [at for at, _ in errors(it)] == ["spec.host"]


def test_other_kinds_are_not_our_business() -> None:
    assert validate({"apiVersion": "v1", "kind": "Service", "spec": 7}) == []
    assert validate({}) == []


def test_validation_changes_nothing() -> None:
    for kind in RULES:
        it = document(kind)
        kept = copy.deepcopy(it)
        validate(it)
        assert it == kept


@pytest.mark.finding("conformance F21")
@pytest.mark.parametrize(
    ("where", "value", "path", "said"),
    [
        ("lua", DELETE, "spec", "exactly one of wasm or lua"),
        ("wasm", {"url": "oci://a.b/c"}, "spec", "only one of wasm, lua"),
        ("lua.inlineCode", "", "spec.lua.inlineCode", "empty"),
        ("lua.inlineCode", "x" * 70_000, "spec.lua.inlineCode", "at most 65536"),
        ("lua.inlineCode", "local x = 1", "spec.lua.inlineCode", "envoy_on_request"),
        ("targetRefs", [{"kind": "Service", "name": "a"}], "spec", "targetRefs"),
        ("targetRefs", [{"kind": "Service", "name": "a"}] * 17, "spec.targetRefs", "16"),
        ("phase", "LAST", "spec.phase", "AUTHN"),
        ("match.0.ports", [{"number": 80}, {"number": 80}], "spec.match[0].ports[1]", "Duplicate"),
        ("match.0.ports.0.number", 0, "spec.match[0].ports[0].number", ">= 1"),
    ],
)
def test_traffic_extensions(where: str, value: Any, path: str, said: str) -> None:
    found = errors(changed("TrafficExtension", where, value))
    assert any(at == path and said in message for at, message in found), found


@pytest.mark.finding("conformance F21")
@pytest.mark.parametrize(
    ("wasm", "path"),
    [
        ({}, "spec.wasm.url"),
        ({"url": "ftp://a.b/c"}, "spec.wasm.url"),
        ({"url": "oci://a.b/c", "sha256": "1"}, "spec.wasm.sha256"),
        ({"url": "oci://a.b/c", "vmConfig": {"env": [{"name": "A"}, {"name": "A"}]}}, "spec.wasm.vmConfig.env[1].name"),
        ({"url": "oci://a.b/c", "vmConfig": {"env": [{"name": "A", "valueFrom": "HOST", "value": "x"}]}}, "spec.wasm.vmConfig.env[0].value"),
        ({"url": "registry:5000/a/b@sha256:1"}, ""),
    ],
)  # fmt: skip
def test_modules_of_traffic_extensions(wasm: Object, path: str) -> None:
    it = changed("TrafficExtension", "lua", DELETE)
    it["spec"]["wasm"] = wasm
    assert [at for at, _ in errors(it)] == ([path] if path else [])


@pytest.mark.finding("newcomer D.2.1")
@pytest.mark.parametrize(
    ("where", "value", "path", "said"),
    [
        ("http.0.timout", "5s", "spec.http[0].timout", "unknown field: did you mean timeout?"),
        ("http.0.match.0.uri", {"prefx": "/a"}, "spec.http[0].match[0].uri.prefx", "unknown field: did you mean prefix?"),
        ("http.0.retries.atempts", 3, "spec.http[0].retries.atempts", "unknown field: did you mean attempts?"),
        ("http.0.zzz", 3, "spec.http[0].zzz", "unknown field"),
        ("http.0." + "timeout" * 1000, 3, "", "unknown field"),
    ],
)  # fmt: skip
def test_a_misspelt_field_is_told_with_the_one_that_is_meant(
    where: str, value: Any, path: str, said: str
) -> None:
    [(at, message)] = errors(changed("VirtualService", where, value))
    assert (at if path else "", message) == (path, said)
