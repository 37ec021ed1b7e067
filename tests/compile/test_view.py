"""Whole views: real Envoy accepts them, and they say what the mesh's objects mean."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.compile.callers import caller
from lateen.compile.proxyless import proxyless_view
from lateen.compile.view import view
from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, View
from lateen.envoy.sealing import describe
from lateen.incremental import Change, Database
from lateen.names.keys import ObjectKey, ProxyKey
from lateen.pki.certificates import key_pem, leaf, pem, self_signed
from lateen.registry.facts import ONLY, MemberCluster
from lateen.testing.mesh import changed, endpoint_slice, mesh, pod, router, service, sidecar
from lateen.testing.static import statically

SIDECAR = ProxyKey("sidecar~10.0.0.1~web-1.default~default.svc.cluster.local")
ROUTER = ProxyKey("router~10.0.0.9~gateway-1.istio-system~istio-system.svc.cluster.local")

RULES = """
kind: VirtualService
apiVersion: networking.istio.io/v1
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: canary
    match:
    - {headers: {end-user: {exact: jason}}, uri: {prefix: /a}, queryParams: {q: {regex: "x.*"}}}
    - {withoutHeaders: {x: {exact: "1"}}, method: {exact: GET}, sourceLabels: {app: web}}
    fault: {delay: {fixedDelay: 1s, percentage: {value: 50}}, abort: {httpStatus: 503, percentage: {value: 0.1}}}
    rewrite: {uri: /b, authority: other}
    timeout: 2s
    retries: {attempts: 3, perTryTimeout: 1s, retryOn: "5xx,503"}
    mirror: {host: ratings}
    corsPolicy: {allowOrigins: [{prefix: "https://"}], allowMethods: [GET], maxAge: 1h, allowCredentials: true}
    headers: {request: {set: {a: b}, add: {c: d}, remove: [e]}, response: {set: {f: g}}}
    route:
    - {destination: {host: reviews, subset: v2}, weight: 30, headers: {response: {set: {h: i}}}}
    - {destination: {host: reviews, subset: v1}, weight: 70}
  - match: [{uri: {exact: /old}}]
    redirect: {uri: /new, redirectCode: 302}
  - match: [{uri: {regex: "/t.*"}}]
    directResponse: {status: 418, body: {string: tea}}
  - route: [{destination: {host: reviews, subset: v1}}]
---
kind: DestinationRule
apiVersion: networking.istio.io/v1
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy:
    loadBalancer: {consistentHash: {httpHeaderName: x-user}}
    connectionPool: {tcp: {maxConnections: 10, connectTimeout: 1s, tcpKeepalive: {time: 10s}}, http: {maxRequestsPerConnection: 5, http1MaxPendingRequests: 3, idleTimeout: 5s}}
    outlierDetection: {consecutive5xxErrors: 7, interval: 5m, baseEjectionTime: 15m, maxEjectionPercent: 50, minHealthPercent: 30}
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
---
kind: Gateway
apiVersion: networking.istio.io/v1
metadata: {name: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
kind: VirtualService
apiVersion: networking.istio.io/v1
metadata: {name: shop}
spec:
  hosts: ["shop.example.com"]
  gateways: [shop]
  http: [{route: [{destination: {host: reviews, port: {number: 9080}}}]}]
---
kind: MeshConfig
accessLogFile: /dev/stdout
"""
GATEWAY = """
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: istio-system}
spec: {clusterIP: 10.96.0.99, selector: {istio: ingressgateway}, ports: [{name: http2, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: gateway-1, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {serviceAccountName: gateway, containers: [{name: istio-proxy, ports: []}]}
status: {phase: Running, podIP: 10.0.0.9}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: example.com, ports: [{name: http, port: 8000}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: tcp, port: 5432}]}
"""


def shop(*more: str) -> Database:
    db = mesh(
        pod("web-1", "10.0.0.1", "web", ports={"http": 8080}), pod("reviews-1", "10.0.0.2", "reviews", ports={"http": 9080}),
        pod("reviews-2", "10.0.0.3", "reviews", version="v2", in_mesh=False, ports={"http": 9080}),
        pod("db-1", "10.0.0.4", "db", ports={"tcp": 5432}),
        service("web", {"http": 80, "grpc-api": 81, "any": 82, "tcp-x": 83}, "10.96.0.10", target=8080),
        service("reviews", {"http": 9080}, "10.96.0.11"), service("ratings", {"http": 9080}, "10.96.0.12"),
        service("auto", {"any": 7000}, "10.96.0.13"), service("bytes", {"tcp": 7001}, "10.96.0.14"),
        endpoint_slice("reviews", {"http": 9080}, ("reviews-1", "10.0.0.2"), ("reviews-2", "10.0.0.3")),
        endpoint_slice("db", {"tcp": 5432}, ("db-1", "10.0.0.4")), GATEWAY, RULES, *more,
    )  # fmt: skip
    db.apply(
        [
            sidecar("web-1", "10.0.0.1", app="web"),
            router("gateway-1", "10.0.0.9", {"istio": "ingressgateway"}),
        ]
    )
    return db


def shown(found: View, type_url: Any, name: str) -> dict[str, Any]:
    return describe(type_url, found[type_url][name].body)


@pytest.mark.parametrize("proxy", [SIDECAR, ROUTER])
def test_envoy_accepts_the_view(proxy: ProxyKey, tmp_path: Path) -> None:
    issuer = self_signed(
        ec.generate_private_key(ec.SECP256R1()),
        "test",
        serial=1,
        now=datetime.now(UTC),
        ttl=timedelta(days=1),
    )
    key = ec.generate_private_key(ec.SECP256R1())
    uri = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/default/sa/web")
    own = leaf(issuer, key.public_key(), [uri], serial=2, now=datetime.now(UTC), ttl=timedelta(hours=1))
    root = pem(issuer.certificate).decode()
    pair = {
        "certificate_chain": {"inline_string": pem(own).decode()},
        "private_key": {"inline_string": key_pem(key).decode()},
    }
    trusted = {"trusted_ca": {"inline_string": root}}
    for name, content in (
        ("default", {"tls_certificate": pair}),
        ("ROOTCA", {"validation_context": trusted}),
    ):
        kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
        (tmp_path / f"{name}.json").write_text(
            json.dumps({"resources": [{"@type": kind, "name": name, **content}]})
        )
    found = view(shop(), proxy)
    text = json.dumps(statically(found)).replace("/etc/istio/proxy/sds", str(tmp_path))
    (tmp_path / "envoy.json").write_text(text)
    envoy = Path(sys.executable).parent / "envoy"
    done = subprocess.run(
        [envoy, "--mode", "validate", "-c", tmp_path / "envoy.json", "--log-level", "warning"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]


def test_routes_keep_the_order_of_the_rule_and_weights() -> None:
    routes = shown(view(shop(), SIDECAR), ROUTE, "9080")
    host = next(
        it for it in routes["virtual_hosts"] if it["name"] == "reviews.default.svc.cluster.local:9080"
    )
    assert "reviews" in host["domains"]
    assert "10.96.0.11" in host["domains"]
    assert [it.get("name", "") for it in host["routes"]] == ["canary", "canary", "", "", ""]
    split = host["routes"][0]["route"]["weighted_clusters"]["clusters"]
    assert [(it["name"].split("|")[2], it["weight"]) for it in split] == [("v2", 30), ("v1", 70)]
    assert host["routes"][0]["route"]["timeout"] == "2s"
    assert host["routes"][4]["route"]["cluster"] == "outbound|9080|v1|reviews.default.svc.cluster.local"


@pytest.mark.parametrize("word", ["set", "add"])
def test_a_host_among_the_headers_is_said_as_envoy_wants_it(word: str) -> None:
    """As a header it would have all routes of the port refused."""
    db = shop()
    db.apply(changed(f"""
kind: VirtualService
apiVersion: networking.istio.io/v1
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  http: [{{headers: {{request: {{{word}: {{host: other}}}}}}, route: [{{destination: {{host: reviews}}}}]}}]
"""))  # fmt: skip
    routes = shown(view(db, SIDECAR), ROUTE, "9080")
    [route] = next(it for it in routes["virtual_hosts"] if it["name"].startswith("reviews"))["routes"]
    assert route["route"]["host_rewrite_literal"] == "other"
    assert "request_headers_to_add" not in route


def test_only_endpoints_of_the_mesh_are_marked_for_mutual_tls() -> None:
    found = view(shop(), SIDECAR)
    whole = shown(found, ENDPOINT, "outbound|9080||reviews.default.svc.cluster.local")["endpoints"][0][
        "lb_endpoints"
    ]
    marks = ["envoy.transport_socket_match" in it["metadata"]["filter_metadata"] for it in whole]
    assert marks == [True, False]
    assert whole[0]["metadata"]["filter_metadata"]["mesh"]["packed"].endswith("|Kubernetes")
    subset = shown(found, ENDPOINT, "outbound|9080|v2|reviews.default.svc.cluster.local")
    addresses = [
        it["endpoint"]["address"]["socket_address"]["address"]
        for it in subset["endpoints"][0]["lb_endpoints"]
    ]
    assert addresses == ["10.0.0.3"]


def test_endpoints_are_of_the_cluster_that_the_installation_names() -> None:
    db = shop()
    db.apply([Change(MemberCluster, ONLY, MemberCluster("east"))])
    found = shown(view(db, SIDECAR), ENDPOINT, "outbound|9080||reviews.default.svc.cluster.local")[
        "endpoints"
    ][0]
    packed = [it["metadata"]["filter_metadata"]["mesh"]["packed"] for it in found["lb_endpoints"]]
    assert {it.rpartition("|")[2] for it in packed} == {"east"}


def test_strict_leaves_no_plain_chain() -> None:
    strict = "{kind: PeerAuthentication, apiVersion: security.istio.io/v1, metadata: {name: default}, spec: {mtls: {mode: STRICT}}}"
    for more, modes in ((), {True, False}), ((strict,), {True}):
        guard, *chains = shown(view(shop(*more), SIDECAR), LISTENER, "virtualInbound")["filter_chains"]
        assert guard["name"] == "virtualInbound-blackhole"
        assert {"transport_socket" in it for it in chains} == modes


@pytest.mark.finding("conformance F22")
def test_inbound_chains_are_called_as_in_istio() -> None:
    """EnvoyFilters and tools match on these names; ports that a policy names and no service has pass as any other."""
    own = """
kind: PeerAuthentication
apiVersion: security.istio.io/v1
metadata: {name: default}
spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {9999: {mode: PERMISSIVE}}}
"""
    db = shop(own, service("near", {"http": 81}, "10.96.0.90", target=8081).replace("app: near", "app: web"))
    found = view(db, SIDECAR)
    listener = shown(found, LISTENER, "virtualInbound")

    def named(chain: dict[str, Any]) -> tuple[str, int, str]:
        last = chain["filters"][-1]["typed_config"]
        match = chain.get("filter_chain_match", {})
        return (
            chain["name"],
            match.get("destination_port", 0),
            last.get("cluster") or last["route_config"]["name"],
        )

    assert {named(it) for it in listener["filter_chains"]} == {
        ("virtualInbound-blackhole", 15006, "BlackHoleCluster"),
        ("0.0.0.0_8080", 8080, "inbound|8080||"), ("0.0.0.0_8081", 8081, "inbound|8081||"),
        ("virtualInbound-catchall-http", 9999, "InboundPassthroughCluster"), ("virtualInbound", 9999, "InboundPassthroughCluster"),
        ("virtualInbound-catchall-http", 0, "InboundPassthroughCluster"), ("virtualInbound", 0, "InboundPassthroughCluster"),
    }  # fmt: skip
    hosts = {
        it["filters"][-1]["typed_config"]["route_config"]["virtual_hosts"][0]["name"]
        for it in listener["filter_chains"] if "route_config" in it["filters"][-1]["typed_config"]
    }  # fmt: skip
    assert hosts == {"inbound|http|80", "inbound|http|81", "inbound|http|0"}
    assert {it for it in found[CLUSTER] if "nbound" in it and not it.startswith("outbound")} == {
        "inbound|8080||", "inbound|8081||", "InboundPassthroughCluster",
    }  # fmt: skip


def test_a_gateway_listens_where_its_service_sends() -> None:
    found = view(shop(), ROUTER)
    assert list(found[LISTENER]) == ["0.0.0.0_8080"]
    assert list(found[ROUTE]) == ["http.8080"]
    host = shown(found, ROUTE, "http.8080")["virtual_hosts"][0]
    assert host["domains"] == ["shop.example.com"]
    assert host["routes"][0]["route"]["cluster"] == "outbound|9080||reviews.default.svc.cluster.local"


def test_scaling_compiles_one_assignment_and_nothing_else() -> None:
    db = shop()
    watch = db.watch(view, SIDECAR)
    before = watch.value
    due = db.apply(changed(endpoint_slice("reviews", {"http": 9080}, ("reviews-1", "10.0.0.2"))))
    assert due == [watch]
    after = watch.value
    assert after[CLUSTER].keys() == before[CLUSTER].keys()
    assert after[LISTENER] == before[LISTENER]
    changes = {name for name in after[ENDPOINT] if after[ENDPOINT][name] != before[ENDPOINT][name]}
    assert changes == {f"outbound|9080|{it}|reviews.default.svc.cluster.local" for it in ("", "v2")}


def test_sidecars_of_one_world_share_every_outbound_resource() -> None:
    db = shop(pod("other-1", "10.0.1.1", "other", namespace="elsewhere"))
    db.apply([sidecar("other-1", "10.0.1.1", namespace="elsewhere")])
    other = view(db, ProxyKey("sidecar~10.0.1.1~other-1.elsewhere~elsewhere.svc.cluster.local"))
    assert other[ENDPOINT] is view(db, SIDECAR)[ENDPOINT]
    routes = shown(other, ROUTE, "9080")
    assert all("reviews" not in it["domains"] for it in routes["virtual_hosts"])


@pytest.mark.finding("architecture 12")
def test_a_grpc_client_without_proxy_has_short_names_in_any_domain() -> None:
    db = shop("{kind: MeshConfig, domain: corp.example}")
    named = proxyless_view(db, ObjectKey("default", "web-1"), caller(db, "default", ()))[LISTENER]
    assert {"reviews:9080", "reviews.default:9080", "reviews.default.svc.corp.example:9080"} <= named.keys()


@pytest.mark.finding("conformance F1")
def test_an_alias_has_no_clusters_and_its_routes_lead_to_what_there_is() -> None:
    """Of a port that the service does not have there is nothing, whatever the alias lists."""
    db = shop("""
kind: Service
apiVersion: v1
metadata: {name: alias}
spec: {type: ExternalName, externalName: reviews.default.svc.cluster.local, ports: [{name: http, port: 8888}]}
""")  # fmt: skip
    found = view(db, SIDECAR)
    assert not any("alias" in it for it in found[CLUSTER])
    assert "8888" not in found[ROUTE]
    host = next(it for it in shown(found, ROUTE, "9080")["virtual_hosts"] if it["name"].startswith("alias"))
    assert {"alias", "alias.default.svc.cluster.local"} <= set(host["domains"])
    assert host["routes"][-1]["route"]["cluster"] in found[CLUSTER]
    named = proxyless_view(db, ObjectKey("default", "web-1"), caller(db, "default", ()))
    assert "alias:9080" in named[LISTENER]
    assert not any("alias" in it for it in named[CLUSTER])


@pytest.mark.finding("mesh bad days")
def test_what_users_write_about_connecting_counts_alone() -> None:
    def of(spec: str, host: str = "ratings", settings: str = "") -> dict[str, Any]:
        rule = f"""
kind: DestinationRule
apiVersion: networking.istio.io/v1
metadata: {{name: own}}
spec: {{host: {host}, trafficPolicy: {{{spec}}}}}
"""
        found = view(shop(rule, settings), SIDECAR)[CLUSTER]
        name = next(it for it in found if it.endswith(f"||{host}.default.svc.cluster.local"))
        return describe(CLUSTER, found[name].body)

    usual = of("")
    assert usual["outlier_detection"]["enforcing_failure_percentage_local_origin"] == 100
    assert usual["outlier_detection"]["enforcing_consecutive_local_origin_failure"] == 0
    assert of("", "bytes")["outlier_detection"]["consecutive_local_origin_failure"] == 3
    assert "upstream_bind_config" in usual
    assert "upstream_bind_config" not in of("connectionPool: {tcp: {connectTimeout: 30s}}")
    assert "upstream_bind_config" not in of("", settings="{kind: MeshConfig, connectTimeout: 30s}")
    own = of("outlierDetection: {consecutive5xxErrors: 7}")["outlier_detection"]
    assert own == {"consecutive_5xx": 7, "enforcing_consecutive_5xx": 100, "enforcing_success_rate": 0}
    for elsewhere in ("db", "outside"):  # by the address that the client chose, and by DNS
        assert not of("", elsewhere).keys() & {"outlier_detection", "upstream_bind_config"}
