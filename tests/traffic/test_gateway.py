"""The ingress gateway: hosts, ports, rules behind it, and redirects."""

from __future__ import annotations

import textwrap

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
