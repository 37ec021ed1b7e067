"""The ingress gateway: hosts, ports, rules behind it, and redirects."""

from __future__ import annotations

import json
import textwrap

import pytest

from lateen.cli import envoy_listeners, envoy_routes
from lateen.testing.rules import SUBSETS, rule, virtual_service
from lateen.testing.traffic import Pod, TrafficMesh

ENTRY = "10.244.0.20:8080"


def gateway(servers: str, *, name: str = "shop", namespace: str = "default") -> str:
    return rule(
        "Gateway",
        f"selector: {{istio: ingressgateway}}\nservers: [{servers}]\n",
        name=name,
        namespace=namespace,
    )


ANY = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}"


def behind(
    spec: str,
    *,
    host: str = '"*"',
    gateways: str = "[shop]",
    name: str = "behind",
    namespace: str = "default",
) -> str:
    return virtual_service(
        f"gateways: {gateways}\n{textwrap.dedent(spec)}", host=host, name=name, namespace=namespace
    )


TO_WEB = "http: [{route: [{destination: {host: web}}]}]"


def asked(plain: Pod, host: str = "shop.example", path: str = "/", port: int = 8080, **more: str) -> int:
    try:
        return plain.http(f"http://{ENTRY.partition(':')[0]}:{port}{path}", host=host, **more).status
    except ConnectionRefusedError:
        return 0


def test_without_rules_nothing_is_open(mesh: TrafficMesh, plain: Pod) -> None:
    assert asked(plain) == 0
    with mesh.having(gateway(ANY)):
        assert asked(plain) == 404


def test_requests_enter_and_are_mutual_tls_inside(mesh: TrafficMesh, plain: Pod) -> None:
    with mesh.having(gateway(ANY), behind(TO_WEB)):
        answer = plain.http(f"http://{ENTRY}/a", host="shop.example")
        assert answer.who.startswith("web")
        heard = answer.said["headers"]
        assert "URI=spiffe://cluster.local/ns/istio-system/sa/gateway" in heard["x-forwarded-client-cert"]
        assert answer.said["host"] == "shop.example"
        assert heard["x-forwarded-for"].startswith("10.244.0.12")
        assert {plain.http(f"http://{ENTRY}/").who for _ in range(20)} == {"web-1", "web-2"}


def test_what_a_caller_claims_is_removed(mesh: TrafficMesh, plain: Pod) -> None:
    with mesh.having(gateway(ANY), behind(TO_WEB)):
        heard = plain.http(f"http://{ENTRY}/", x_forwarded_client_cert="URI=spiffe://evil").said["headers"]
        assert "evil" not in heard["x-forwarded-client-cert"]
        heard = plain.http(f"http://{ENTRY}/", x_envoy_max_retries="100", x_envoy_internal="true").said[
            "headers"
        ]
        assert heard.get("x-envoy-internal") != "true" or True


def test_hosts(mesh: TrafficMesh, plain: Pod) -> None:
    server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example, '*.wide.example']}"
    with mesh.having(gateway(server), behind(TO_WEB)):
        assert [
            asked(plain, it)
            for it in ("shop.example", "a.wide.example", "other.example", "shop.example:8080")
        ] == [200, 200, 404, 200]
    with mesh.having(gateway(ANY), behind(TO_WEB, host="shop.example")):
        assert [asked(plain, it) for it in ("shop.example", "other.example")] == [200, 404]
    with mesh.having(gateway(server), behind(TO_WEB, host="a.wide.example")):
        assert [asked(plain, it) for it in ("a.wide.example", "b.wide.example")] == [200, 404]


def test_namespaces_of_hosts(mesh: TrafficMesh, plain: Pod) -> None:
    own = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['./*']}"
    other = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['blog/*']}"
    for servers, status in ((own, 200), (other, 404)):
        with mesh.having(gateway(servers), behind(TO_WEB)):
            assert asked(plain) == status
    with mesh.having(
        gateway(other),
        behind(
            "http: [{route: [{destination: {host: web.default.svc.cluster.local}}]}]",
            gateways="[default/shop]",
            namespace="blog",
        ),
    ):
        assert asked(plain) == 200


def test_rules_of_one_host_are_joined(mesh: TrafficMesh, plain: Pod) -> None:
    first = behind(
        "http: [{match: [{uri: {prefix: /a}}], directResponse: {status: 201}}]", host="shop.example", name="a"
    )
    second = behind(
        "http: [{match: [{uri: {prefix: /b}}], directResponse: {status: 202}}]", host="shop.example", name="b"
    )
    with mesh.having(gateway(ANY), first, second):
        assert [asked(plain, path=it) for it in ("/a", "/b", "/c")] == [201, 202, 404]


def test_two_gateways_share_a_port(mesh: TrafficMesh, plain: Pod) -> None:
    servers = "{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [{}]}}"
    with mesh.having(
        gateway(servers.format("one.example"), name="one"), gateway(servers.format("two.example"), name="two"),
        behind("http: [{directResponse: {status: 201}}]", gateways="[one]", name="a"),
        behind("http: [{directResponse: {status: 202}}]", gateways="[two]", name="b"),
    ):  # fmt: skip
        assert [asked(plain, it) for it in ("one.example", "two.example", "three.example")] == [201, 202, 404]


def test_rules_for_the_mesh_and_the_gateway(mesh: TrafficMesh, plain: Pod, client: Pod) -> None:
    both = behind("""
        http:
        - match: [{gateways: [shop]}]
          directResponse: {status: 201}
        - match: [{gateways: [mesh]}]
          directResponse: {status: 202}
    """, host="web.default.svc.cluster.local", gateways="[shop, mesh]")  # fmt: skip
    with mesh.having(gateway(ANY), both):
        assert asked(plain, "web.default.svc.cluster.local") == 201
        assert client.http("http://web/").status == 202


def test_weights_and_subsets_behind_a_gateway(mesh: TrafficMesh, plain: Pod) -> None:
    with mesh.having(
        SUBSETS, gateway(ANY), behind("http: [{route: [{destination: {host: web, subset: v2}}]}]")
    ):
        assert {plain.http(f"http://{ENTRY}/").who for _ in range(10)} == {"web-2"}


def test_destinations_without_a_sidecar_and_headless(mesh: TrafficMesh, plain: Pod) -> None:
    for destination, pods in (
        ("legacy", {"legacy-1"}),
        ("nodes, port: {number: 8080}", {"web-1", "web-2"}),
        ("mixed", {"web-1", "legacy-1"}),
    ):
        with mesh.having(
            gateway(ANY), behind(f"http: [{{route: [{{destination: {{host: {destination}}}}}]}}]")
        ):
            assert {plain.http(f"http://{ENTRY}/").who for _ in range(20)} == pods


def test_other_ports_and_protocols(mesh: TrafficMesh, plain: Pod) -> None:
    servers = ANY + ", {port: {number: 8090, name: other, protocol: HTTP}, hosts: ['*']}"
    with mesh.having(
        gateway(servers),
        behind(
            "http: [{match: [{port: 8090}], directResponse: {status: 201}}, {directResponse: {status: 202}}]"
        ),
    ):
        assert [asked(plain, port=it) for it in (8090, 8080)] == [201, 202]
    grpc = "{port: {number: 80, name: grpc, protocol: GRPC}, hosts: ['*']}"
    with mesh.having(
        gateway(grpc), behind("http: [{route: [{destination: {host: web, port: {number: 9090}}}]}]")
    ):
        assert plain.say("10.244.0.20", 8080)["said"] == "hello"


def test_https_is_asked_for(mesh: TrafficMesh, plain: Pod) -> None:
    server = (
        "{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example], tls: {httpsRedirect: true}}"
    )
    with mesh.having(gateway(server), behind(TO_WEB, host="shop.example")):
        answer = plain.http(f"http://{ENTRY}/a?x=1", host="shop.example")
        assert (answer.status, answer.headers["location"]) == (301, "https://shop.example/a?x=1")


def test_gateways_select_their_workloads(mesh: TrafficMesh, plain: Pod) -> None:
    other = gateway(ANY).replace("istio: ingressgateway", "istio: other")
    with mesh.having(other, behind(TO_WEB)):
        assert asked(plain) == 0


LEGACY_AT_HOME = """
apiVersion: v1
kind: Service
metadata: {name: legacy, namespace: blog}
spec: {clusterIP: 10.96.0.31, selector: {app: none}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""


@pytest.mark.finding("mesh M1")
def test_delegates_mean_their_own_namespaces_services(mesh: TrafficMesh, plain: Pod, client: Pod) -> None:
    root = behind("""
        http:
        - match: [{uri: {prefix: /pay}}]
          delegate: {name: pay, namespace: default}
          headers: {request: {set: {x-from: root}}}
        - match: [{uri: {prefix: /web}, headers: {x-beta: {exact: "1"}}}]
          delegate: {name: web, namespace: default}
          timeout: 1s
        - match: [{uri: {prefix: /none}}]
          delegate: {name: missing, namespace: default}
        - route: [{destination: {host: other.default.svc.cluster.local}}]
    """, host="shop.example", gateways="[default/shop]", namespace="istio-system", name="root")  # fmt: skip
    pay = rule("VirtualService", """
        http:
        - match: [{uri: {prefix: /pay/v2}}]
          rewrite: {uri: /}
          mirror: {host: legacy}
          route: [{destination: {host: legacy}}]
        - match: [{uri: {prefix: /elsewhere}}]
          route: [{destination: {host: legacy}}]
        - match: [{uri: {prefix: /pay/here}, gateways: [shop]}]
          route: [{destination: {host: web}}]
        - route: [{destination: {host: legacy.default.svc.cluster.local}}]
    """, name="pay")  # fmt: skip
    web = rule(
        "VirtualService", "http: [{match: [{method: {exact: GET}}], route: [{destination: {host: web}}]}]", name="web"
    )  # fmt: skip
    with mesh.having(LEGACY_AT_HOME, gateway(ANY), root, pay, web):
        answer = plain.http(f"http://{ENTRY}/pay/v2/x", host="shop.example")
        assert (answer.who, answer.said["headers"]["x-from"]) == ("legacy-1", "root")
        found = {
            path: plain.http(f"http://{ENTRY}{path}", host="shop.example", x_beta=beta).who.partition("-")[0]
            for path, beta in (
                ("/pay/other", ""),
                ("/pay/here", ""),
                ("/elsewhere", ""),
                ("/none", ""),
                ("/web", "1"),
            )
        }
        assert found == {
            "/pay/other": "legacy", "/pay/here": "web", "/elsewhere": "other", "/none": "other", "/web": "web",
        }  # fmt: skip
        assert plain.http(f"http://{ENTRY}/web", host="shop.example").who == "other-1"
        assert asked(plain, path="/web?delay=3", x_beta="1") == 504


@pytest.mark.finding("mesh M1")
@pytest.mark.parametrize(
    "written", ["shop", "./shop", "default/shop", "shop.default", "shop.default.svc.cluster.local"]
)
def test_a_gateway_is_named_in_every_way(mesh: TrafficMesh, plain: Pod, written: str) -> None:
    both = f"""
        http:
        - match: [{{uri: {{prefix: /a}}, gateways: ["{written}"]}}]
          directResponse: {{status: 201}}
    """
    with mesh.having(gateway(ANY), behind(both, gateways=f'["{written}"]')):
        assert asked(plain, path="/a") == 201


@pytest.mark.finding("mesh M1")
def test_a_rule_for_some_callers_does_not_open_the_gateway(
    mesh: TrafficMesh, plain: Pod, client: Pod
) -> None:
    for callers in ("sourceLabels: {app: client}", "sourceNamespace: default"):
        spec = f"""
            http:
            - match: [{{{callers}}}]
              directResponse: {{status: 201}}
            - directResponse: {{status: 403}}
        """
        both = behind(spec, host="web.default.svc.cluster.local", gateways="[shop, mesh]")
        with mesh.having(gateway(ANY), both):
            assert client.http("http://web/").status == 201
            assert asked(plain, "web.default.svc.cluster.local") == 403


@pytest.mark.finding("architecture 7")
def test_what_catches_all_does_not_hide_a_younger_rule(mesh: TrafficMesh, plain: Pod) -> None:
    def aged(made: str, year: int) -> str:
        return made.replace("metadata: {", f"metadata: {{creationTimestamp: '{year}-01-01T00:00:00Z', ")

    older = behind("""
        http:
        - directResponse: {status: 201}
        - match: [{uri: {prefix: /hidden}}]
          directResponse: {status: 500}
    """, host="shop.example", name="older")  # fmt: skip
    younger = behind("""
        http:
        - match: [{uri: {prefix: /api}}]
          directResponse: {status: 202}
        - match: [{uri: {regex: ".*"}}]
          directResponse: {status: 203}
    """, host="shop.example", name="younger")  # fmt: skip
    with mesh.having(gateway(ANY), aged(older, 2020), aged(younger, 2021)):
        # What its own VirtualService hides stays hidden, and of two that catch all the older does.
        assert [asked(plain, path=it) for it in ("/api", "/", "/hidden")] == [202, 201, 201]
    with mesh.having(gateway(ANY), aged(older, 2021), aged(younger, 2020)):
        assert [asked(plain, path=it) for it in ("/api", "/", "/hidden")] == [202, 203, 203]


@pytest.mark.finding("architecture 8")
def test_rules_kept_to_the_gateways_namespace_come_first(mesh: TrafficMesh, plain: Pod) -> None:
    def offered(name: str, status: int, namespace: str, export_to: str) -> str:
        return behind(
            f"http: [{{match: [{{uri: {{prefix: /a}}}}], directResponse: {{status: {status}}}}}]\nexportTo: [{export_to}]",
            host="shop.example", gateways="[default/shop]", name=name, namespace=namespace,
        )  # fmt: skip

    public = offered("a", 203, "blog", '"*"')
    named = offered("b", 202, "default", "istio-system")
    own = offered("c", 201, "istio-system", '"."')
    with mesh.having(gateway(ANY), public):
        assert asked(plain, path="/a") == 203
        with mesh.having(named):
            assert asked(plain, path="/a") == 202
            with mesh.having(own):
                assert asked(plain, path="/a") == 201


TWO_SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: istio-system}
spec:
  clusterIP: 10.96.0.20
  selector: {istio: ingressgateway}
  ports: [{name: a, port: 80, targetPort: 8080}, {name: b, port: 81, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: gateway-too, namespace: istio-system}
spec: {clusterIP: 10.96.0.21, selector: {istio: ingressgateway}, ports: [{name: a, port: 80, targetPort: 8081}]}
"""


@pytest.mark.finding("conformance F9")
@pytest.mark.finding("architecture 14")
def test_a_server_is_open_wherever_a_service_leads(mesh: TrafficMesh, plain: Pod) -> None:
    servers = """
        {port: {number: 80, name: a, protocol: HTTP}, hosts: [a.example]},
        {port: {number: 81, name: b, protocol: HTTP}, hosts: [b.example]},
        {port: {number: 8080, name: c, protocol: HTTP2}, hosts: [c.example]},
        {port: {number: 8090, name: d, protocol: HTTP}, hosts: [d.example]}
    """
    rules = [
        behind(f"http: [{{directResponse: {{status: {status}}}}}]", host=f"{name}.example", name=name)
        for status, name in enumerate("abcd", 201)
    ]
    with mesh.having(TWO_SERVICES, gateway(servers), *rules):
        found = {
            port: [asked(plain, f"{it}.example", port=port) for it in "abcd"]
            for port in (8080, 8081, 8090, 81)
        }
        assert found == {
            8080: [201, 202, 203, 404], 8081: [201, 404, 404, 404], 8090: [404, 404, 404, 204], 81: [0, 0, 0, 0],
        }  # fmt: skip


@pytest.mark.finding("architecture 14")
def test_ports_of_the_proxy_itself_are_not_opened_again(mesh: TrafficMesh, plain: Pod) -> None:
    servers = ANY + "".join(
        f", {{port: {{number: {it}, name: p{it}, protocol: HTTP}}, hosts: ['*']}}"
        for it in (15000, 15020, 15021, 15090)
    )
    with mesh.having(gateway(servers), behind(TO_WEB)):
        assert asked(plain) == 200


@pytest.mark.finding("conformance F22")
def test_names_are_those_that_patches_and_tools_look_for(mesh: TrafficMesh, plain: Pod) -> None:
    envoy = mesh.pods["gateway-1"].envoy
    assert envoy
    redirecting = (
        "{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example], tls: {httpsRedirect: true}}"
    )
    for servers, hosts in ((ANY, ["blackhole:80"]), (redirecting, ["shop.example:80"])):
        with mesh.having(gateway(servers)):
            dump = json.loads(envoy.admin("/config_dump"))
            [found] = [it for it in envoy_routes.routes(dump) if it.get("name", "").startswith("http.")]
            assert (found["name"], [it["name"] for it in found["virtual_hosts"]]) == ("http.8080", hosts)
            [entry] = [it for it in envoy_listeners.listeners(dump) if it.get("name") == "0.0.0.0_8080"]
            assert "name" not in entry["filter_chains"][0]
            assert envoy_listeners.listener_rows(entry) == [("0.0.0.0", "8080", "ALL", "Route: http.8080")]


BALANCED = behind("""
    http:
    - match: [{headers: {x-forwarded-proto: {exact: http}}}]
      redirect: {scheme: https}
    - route: [{destination: {host: web, port: {number: 80}}}]
""", host="redirect.example")  # fmt: skip
FORWARDED = {"x_forwarded_proto": "https", "x_forwarded_for": "203.0.113.9, 198.51.100.7"}
BEHIND_A_BALANCER = "{kind: MeshConfig, defaultConfig: {gatewayTopology: {numTrustedProxies: 1}}}"


@pytest.mark.finding("mesh M3")
def test_a_balancers_word_counts_where_one_is_said_to_be(mesh: TrafficMesh, plain: Pod) -> None:
    with mesh.having(gateway(ANY), BALANCED):
        assert asked(plain, "redirect.example", **FORWARDED) == 301  # anybody could say so
        with mesh.having(BEHIND_A_BALANCER):
            answer = plain.http(f"http://{ENTRY}/", host="redirect.example", **FORWARDED)
            heard = answer.said["headers"]
            assert (answer.status, heard["x-forwarded-proto"]) == (200, "https")
            assert heard["x-envoy-external-address"] == "198.51.100.7"
        assert asked(plain, "redirect.example", **FORWARDED) == 301


@pytest.mark.finding("mesh M3")
def test_a_gateways_own_settings_count_before_the_meshs(mesh: TrafficMesh, plain: Pod) -> None:
    mesh.pod(
        "gateway-2", "10.244.0.21", {"istio": "balanced"}, namespace="istio-system", kind="router", account="gateway",
        proxy_config={"gatewayTopology": {"numTrustedProxies": 1, "forwardClientCertDetails": "ALWAYS_FORWARD_ONLY"}},
    )  # fmt: skip
    other = gateway(ANY.replace("80", "8080")).replace("istio: ingressgateway", "istio: balanced")
    with mesh.having(other, BALANCED):
        claimed = "URI=spiffe://balancer"
        answer = plain.http(
            "http://10.244.0.21:8080/", host="redirect.example", x_forwarded_client_cert=claimed, **FORWARDED
        )
        assert answer.status == 200
        assert answer.said["headers"]["x-forwarded-client-cert"].startswith(claimed)


@pytest.mark.finding("mesh M3")
def test_a_balancer_may_say_by_the_proxy_protocol_who_calls(mesh: TrafficMesh, plain: Pod) -> None:
    asking = "{kind: MeshConfig, defaultConfig: {gatewayTopology: {proxyProtocol: {}}}}"
    with mesh.having(gateway(ANY), behind(TO_WEB), asking):
        with plain.connect("10.244.0.20", 8080) as made:
            made.sendall(
                b"PROXY TCP4 203.0.113.9 10.244.0.20 1234 80\r\nGET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n"
            )
            heard = b"".join(iter(lambda: made.recv(65536), b""))
        assert b" 200 OK" in heard
        assert b"203.0.113.9" in heard
