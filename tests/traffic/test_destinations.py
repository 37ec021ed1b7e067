"""DestinationRules: who is chosen, how many may wait, who is left out, and how connections are secured."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from lateen.testing.applications import ECHO, HTTP
from lateen.testing.clients import Load
from lateen.testing.envoys import until
from lateen.testing.mesh import endpoint_slice, pod, service
from lateen.testing.namespaces import Namespace
from lateen.testing.rules import SUBSETS, destination_rule, virtual_service
from lateen.testing.traffic import Pod, TrafficMesh


@pytest.mark.parametrize("simple", ["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "LEAST_CONN", "UNSPECIFIED"])
def test_simple_balancing_uses_all_endpoints(mesh: TrafficMesh, client: Pod, simple: str) -> None:
    with mesh.having(destination_rule(f"trafficPolicy: {{loadBalancer: {{simple: {simple}}}}}")):
        found = Counter(client.http("http://web/").who for _ in range(40))
        assert {client.line("web", 9000, "hello").split()[0] for _ in range(20)} == {"web-1", "web-2"}
    assert found.keys() == {"web-1", "web-2"}
    if simple == "ROUND_ROBIN":
        assert found["web-1"] == found["web-2"]


def test_passthrough_goes_where_the_client_went(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(destination_rule("trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}", host="nodes")):
        assert {client.http("http://nodes:8080/", via="10.244.1.2").who for _ in range(10)} == {"web-2"}
    with mesh.having(destination_rule("trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}", host="web")):
        assert client.http("http://web:8080/", via="10.244.1.2").who == "web-2"


@pytest.mark.parametrize(("hashed", "one"), [
    ("httpHeaderName: x-user", {"x_user": "{}"}),
    ("httpQueryParameterName: user", {}),
    ("httpHeaderName: x-user, maglev: {}", {"x_user": "{}"}),
    ("httpHeaderName: x-user, ringHash: {minimumRingSize: 64}", {"x_user": "{}"}),
])  # fmt: skip
def test_hashing_keeps_a_user_at_one_endpoint(
    mesh: TrafficMesh, client: Pod, hashed: str, one: dict[str, str]
) -> None:
    with mesh.having(destination_rule(f"trafficPolicy: {{loadBalancer: {{consistentHash: {{{hashed}}}}}}}")):
        seen = set()
        for user in range(12):
            headers = {name: it.format(user) for name, it in one.items()}
            answers = {client.http(f"http://web/?user={user}", **headers).who for _ in range(4)}
            assert len(answers) == 1
            seen |= answers
    assert seen == {"web-1", "web-2"}


def test_hashing_by_cookie_gives_one(mesh: TrafficMesh, client: Pod) -> None:
    spec = "trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: user, ttl: 60s}}}}"
    with mesh.having(destination_rule(spec)):
        first = client.http("http://web/")
        cookie = first.headers["set-cookie"]
        assert cookie.startswith("user=")
        assert "Max-Age=60" in cookie
        assert {client.http("http://web/", cookie=cookie.partition(";")[0]).who for _ in range(10)} == {
            first.who
        }


def test_hashing_by_source_address(mesh: TrafficMesh, client: Pod) -> None:
    spec = "trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}"
    with mesh.having(destination_rule(spec)):
        assert len({client.http("http://web/").who for _ in range(10)}) == 1
        assert len({client.line("web", 9000, "hello") for _ in range(10)}) == 1


@pytest.mark.parametrize(("asked", "place"), [
    ("simple: ROUND_ROBIN, warmup: {duration: 60s, minimumPercent: 20, aggression: 2.0}", "round_robin_lb_config"),
    ("simple: LEAST_REQUEST, warmup: {duration: 60s, minimumPercent: 20, aggression: 2.0}", "least_request_lb_config"),
])  # fmt: skip
def test_new_endpoints_warm_up(mesh: TrafficMesh, client: Pod, asked: str, place: str) -> None:
    assert client.envoy is not None
    with mesh.having(destination_rule(f"trafficPolicy: {{loadBalancer: {{{asked}}}}}")):
        assert client.http("http://web/").status == 200
        dump = json.loads(client.envoy.admin("/config_dump?resource=dynamic_active_clusters"))["configs"]
    made = next(
        it["cluster"] for it in dump if it["cluster"]["name"] == "outbound|80||web.default.svc.cluster.local"
    )
    slow = made[place]["slow_start_config"]
    assert (
        slow["slow_start_window"],
        slow["min_weight_percent"]["value"],
        slow["aggression"]["default_value"],
    ) == ("60s", 20, 2)


def test_old_warmup(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(
        destination_rule("trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST, warmupDurationSecs: 60s}}")
    ):
        assert client.http("http://web/").status == 200


def test_too_many_requests_are_refused_at_once(mesh: TrafficMesh, client: Pod) -> None:
    spec = "trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}"
    once = virtual_service("http: [{retries: {attempts: 0}, route: [{destination: {host: web}}]}]")
    with mesh.having(destination_rule(spec), once), ThreadPoolExecutor(8) as threads:
        found = Counter(
            it.status for it in threads.map(lambda _: client.http("http://web/?delay=0.4"), range(8))
        )
    assert found[200] >= 1  # one that waits for the connection counts as pending, too
    assert found[503] >= 3
    with ThreadPoolExecutor(8) as threads:
        assert {
            it.status for it in threads.map(lambda _: client.http("http://web/?delay=0.2"), range(8))
        } == {200}


def test_connections_have_limits(mesh: TrafficMesh, client: Pod) -> None:
    spec = """
        trafficPolicy:
          connectionPool:
            tcp: {maxConnections: 2, connectTimeout: 200ms, maxConnectionDuration: 1s, idleTimeout: 500ms, tcpKeepalive: {time: 10s, interval: 5s, probes: 3}}
            http: {maxRequestsPerConnection: 1, http2MaxRequests: 100, maxRetries: 3, idleTimeout: 5s, maxConcurrentStreams: 10}
    """
    with mesh.having(destination_rule(spec)):
        assert client.http("http://web/").status == 200
        assert client.say("web", 9090)["said"] == "hello"
        with client.connect("web", 9000) as idle:
            assert idle.recv(1) == b""  # closed, since nothing was said
    with (
        mesh.having(destination_rule("trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}")),
        client.connect("web", 9000) as first,
    ):
        first.sendall(b"hello\n")
        assert first.recv(100)
        assert client.line("web", 9000, "hello") == ""


def test_http2_between_proxies(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(destination_rule("trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}")):
        assert client.http("http://web/", method="POST", body=b"x" * 100).status == 200
        split = "http: [{route: [{destination: {host: web}, weight: 50}, {destination: {host: other}, weight: 50}]}]"
        with mesh.having(virtual_service(split)):
            assert {client.http("http://web/").status for _ in range(10)} == {200}
    with mesh.having(destination_rule("trafficPolicy: {connectionPool: {http: {useClientProtocol: true}}}")):
        assert client.http("http://web/").status == 200
        assert client.say("web", 9090)["said"] == "hello"


def test_a_failing_endpoint_is_left_out(mesh: TrafficMesh, client: Pod) -> None:
    eject = destination_rule("""
        trafficPolicy:
          outlierDetection: {consecutive5xxErrors: 2, interval: 200ms, baseEjectionTime: 60s, maxEjectionPercent: 100}
        subsets:
        - {name: v1, labels: {version: v1}}
    """)
    once = virtual_service("http: [{retries: {attempts: 0}, route: [{destination: {host: web}}]}]")
    with mesh.having(eject, once):
        until(lambda: client.http("http://web/?status=500").status == 503, "both endpoints to be left out")
        envoy = mesh.pods["client"].envoy
        assert envoy is not None
        assert "::health_flags::/failed_outlier_check" in envoy.admin("/clusters")


def test_gateway_errors_and_local_errors(mesh: TrafficMesh, client: Pod) -> None:
    spec = """
        trafficPolicy:
          outlierDetection:
            consecutiveGatewayErrors: 3
            consecutive5xxErrors: 0
            splitExternalLocalOriginErrors: true
            consecutiveLocalOriginFailures: 2
            minHealthPercent: 50
          loadBalancer: {consistentHash: {httpHeaderName: x}}
    """
    with mesh.having(destination_rule(spec)):
        assert client.http("http://web/").status == 200
    for simple in ("PASSTHROUGH", "RANDOM", "ROUND_ROBIN"):
        with mesh.having(
            destination_rule(spec.replace("consistentHash: {httpHeaderName: x}", f"simple: {simple}"))
        ):
            assert client.http("http://web:8080/", via="10.244.1.1").status == 200


def test_ports_replace_and_subsets_override(mesh: TrafficMesh, client: Pod) -> None:
    spec = """
        trafficPolicy:
          loadBalancer: {consistentHash: {useSourceIp: true}}
          portLevelSettings:
          - {port: {number: 7000}, loadBalancer: {simple: ROUND_ROBIN}}
        subsets:
        - name: all
          labels: {app: web}
          trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}
        - name: port
          labels: {app: web}
          trafficPolicy:
            portLevelSettings:
            - {port: {number: 80}, connectionPool: {tcp: {maxConnections: 100}}}
    """

    def split(subset: str = "", port: int = 80) -> int:
        route = virtual_service(f"http: [{{route: [{{destination: {{host: web, subset: '{subset}'}}}}]}}]")
        with mesh.having(route):
            return len({client.http(f"http://web:{port}/").who for _ in range(12)})

    with mesh.having(destination_rule(spec)):
        assert split() == 1
        assert split(port=7000) == 2
        assert split("all") == 2
        assert split("port") == 2  # a port's settings replace all of it, also what its destination says


def test_rules_of_one_host_are_merged(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(
        destination_rule("subsets: [{name: v1, labels: {version: v1}}]", name="first"),
        destination_rule("subsets: [{name: v2, labels: {version: v2}}]", name="second"),
    ):
        for subset, pod in (("v1", "web-1"), ("v2", "web-2")):
            with mesh.having(
                virtual_service(f"http: [{{route: [{{destination: {{host: web, subset: {subset}}}}}]}}]")
            ):
                assert client.http("http://web/").who == pod


def test_the_callers_own_rule_wins(mesh: TrafficMesh, client: Pod, guest: Pod) -> None:
    own = destination_rule(
        "trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}",
        host="web.default.svc.cluster.local",
        namespace="blog",
    )
    with mesh.having(own):
        assert len({guest.http("http://web.default/").who for _ in range(20)}) == 1
        assert len({client.http("http://web/").who for _ in range(20)}) == 2


def test_rules_are_exported(mesh: TrafficMesh, client: Pod, guest: Pod) -> None:
    with mesh.having(
        destination_rule(
            "exportTo: ['.']\ntrafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}"
        )
    ):
        assert len({client.http("http://web/").who for _ in range(20)}) == 1
        assert len({guest.http("http://web.default/").who for _ in range(20)}) == 2


def test_tls_modes_inside_of_the_mesh(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(destination_rule("trafficPolicy: {tls: {mode: DISABLE}}")):
        assert "x-forwarded-client-cert" not in client.http("http://web/").said["headers"]
        assert client.line("web", 9000, "hello").endswith("hello")
    with mesh.having(destination_rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}")):
        assert "x-forwarded-client-cert" in client.http("http://web/").said["headers"]
        assert client.say("web", 9090)["said"] == "hello"
        assert client.line("web", 9000, "hello").endswith("hello")
    with mesh.having(destination_rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}", host="legacy")):
        assert client.http("http://legacy/").status == 503  # it has no sidecar


def test_tls_towards_the_outside(mesh: TrafficMesh, client: Pod) -> None:
    """The client speaks HTTP, its sidecar HTTPS."""
    service = """
        apiVersion: v1
        kind: Service
        metadata: {name: secure, namespace: default}
        spec: {type: ExternalName, externalName: outside.example, ports: [{name: http, port: 8443}]}
        """
    with mesh.having(service):
        assert client.http("http://secure:8443/").status != 200
        with mesh.having(
            destination_rule(
                "trafficPolicy: {tls: {mode: SIMPLE, sni: outside.example, caCertificates: /etc/istio/proxy/outside-ca.pem}}",
                host="secure",
            )
        ):
            answer = client.http("http://secure:8443/")
            assert (answer.status, answer.said["tls"], answer.who) == (200, True, "outside")
        for wrong in (
            "{mode: SIMPLE, sni: outside.example, caCertificates: /etc/istio/proxy/outside-ca.pem, subjectAltNames: [evil.example]}",
            "{mode: SIMPLE, sni: outside.example}",  # the system's authorities did not sign this one
            # Nothing says which server is expected: then it is the one that is called, and that is "secure".
            "{mode: SIMPLE, caCertificates: /etc/istio/proxy/outside-ca.pem}",
        ):
            with mesh.having(destination_rule(f"trafficPolicy: {{tls: {wrong}}}", host="secure")):
                assert client.http("http://secure:8443/").status == 503
        named = "{mode: SIMPLE, caCertificates: /etc/istio/proxy/outside-ca.pem, subjectAltNames: [outside.example]}"
        with mesh.having(destination_rule(f"trafficPolicy: {{tls: {named}}}", host="secure")):
            assert client.http("http://secure:8443/").status == 200
        with mesh.having(
            destination_rule("trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true}}", host="secure")
        ):
            assert client.http("http://secure:8443/").said["tls"] is True
        with mesh.having(destination_rule("""
            trafficPolicy:
              tls: {mode: MUTUAL, sni: outside.example, caCertificates: /etc/istio/proxy/outside-ca.pem, clientCertificate: /etc/istio/proxy/outside-client.pem, privateKey: /etc/istio/proxy/outside-client.key}
        """, host="secure")):  # fmt: skip
            assert client.http("http://secure:8443/").said["certificate"] == "client.example"


def test_subsets_without_endpoints_answer_503(mesh: TrafficMesh, client: Pod) -> None:
    empty = destination_rule("subsets: [{name: none, labels: {version: v9}}]")
    with mesh.having(empty, virtual_service("http: [{route: [{destination: {host: web, subset: none}}]}]")):
        assert client.http("http://web/").status == 503


def test_subsets(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(SUBSETS, virtual_service("http: [{route: [{destination: {host: web, subset: v2}}]}]")):
        assert {client.http("http://web/").who for _ in range(10)} == {"web-2"}


OUTSIDE = """
apiVersion: v1
kind: Service
metadata: {name: secure, namespace: default}
spec: {type: ExternalName, externalName: outside.example, ports: [{name: http, port: 8443}, {name: tcp, port: 8444}]}
"""
BY_TCP = """
apiVersion: v1
kind: Service
metadata: {name: bytes, namespace: default}
spec: {clusterIP: 10.96.0.40, ports: [{name: tcp, port: 80, targetPort: 8443}, {name: any, port: 81, targetPort: 8443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: bytes-1, namespace: default, labels: {kubernetes.io/service-name: bytes}}
endpoints: [{addresses: [203.0.113.10]}]
ports: [{name: tcp, port: 8443}, {name: any, port: 8443}]
"""
DOOR = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: door, namespace: default}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
"""
#: What a server outside may learn of a request that a sidecar sends: nothing that the mesh says to itself.
SHOWN = {"x-forwarded-proto", "x-request-id", "x-envoy-attempt-count"}


@pytest.mark.finding("mesh M2")
@pytest.mark.parametrize(
    "mode",
    [
        "SIMPLE, insecureSkipVerify: true",
        "MUTUAL, insecureSkipVerify: true, clientCertificate: /etc/istio/proxy/outside-client.pem, privateKey: /etc/istio/proxy/outside-client.key",
    ],
)
def test_servers_outside_are_not_offered_the_words_of_sidecars(
    mesh: TrafficMesh, client: Pod, plain: Pod, mode: str
) -> None:
    rules = [
        destination_rule(f"trafficPolicy: {{tls: {{mode: {mode}}}}}", host=it, name=it)
        for it in ("secure", "bytes")
    ]
    routed = virtual_service(
        "gateways: [door, mesh]\nhttp: [{route: [{destination: {host: secure, port: {number: 8443}}}]}]",
        host="secure.example",
    )
    with mesh.having(OUTSIDE, BY_TCP, DOOR, routed, *rules):
        for url, via in (
            ("http://secure:8443/", ""),
            ("http://secure.example/", "10.96.0.99"),
            ("http://bytes:81/", ""),
        ):
            answer = client.http(url, via=via, x_forwarded_client_cert="URI=spiffe://a")
            assert (answer.status, answer.who, answer.said["tls"]) == (200, "outside", True)
            assert answer.said["alpn"] in ("http/1.1", "")
            assert {it for it in answer.said["headers"] if it.startswith(("x-", "baggage"))} <= SHOWN
        assert client.http("http://bytes/").said["alpn"] == ""
        answer = plain.http("http://secure.example:8080/", via="10.244.0.20")
        assert (answer.status, answer.said["tls"], answer.said["alpn"]) == (200, True, "http/1.1")


@pytest.mark.finding("mesh M2")
def test_sidecars_are_offered_them(mesh: TrafficMesh, client: Pod, plain: Pod) -> None:
    """Else a port whose protocol nobody declares is not seen to be HTTP behind mutual TLS."""
    routed = virtual_service(
        "gateways: [door, mesh]\nhttp: [{route: [{destination: {host: web, port: {number: 7000}}}]}]"
    )
    for tls in ("", "trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}"):
        with mesh.having(DOOR, routed, destination_rule(tls)):
            for answer in (
                client.http("http://web:7000/"),
                client.http("http://web/"),
                plain.http("http://web.default.svc.cluster.local:8080/", via="10.244.0.20"),
            ):
                assert "spiffe://" in answer.said["headers"]["x-forwarded-client-cert"]


@pytest.mark.finding("mesh M2")
def test_what_arrives_as_http2_is_offered_as_what_goes_on(mesh: TrafficMesh, client: Pod) -> None:
    """A gateway is called by HTTP/2, as its Service says, and calls a port of HTTP/1.1, or the other way round."""
    called = endpoint_slice(
        "gateway", {"http2": 8080}, ("gateway-1", "10.244.0.20"), namespace="istio-system"
    )
    for port in (80, 7000):
        routed = virtual_service(
            f"gateways: [door]\nhttp: [{{route: [{{destination: {{host: web, port: {{number: {port}}}}}}}]}}]",
            host="gateway.istio-system",
        )
        for pool in ("", "h2UpgradePolicy: UPGRADE", "useClientProtocol: true"):
            policy = f"trafficPolicy: {{connectionPool: {{http: {{{pool}}}}}}}" if pool else ""
            with mesh.having(called, DOOR, routed, destination_rule(policy)):
                answer = client.http("http://gateway.istio-system/", via="10.96.0.20")
                assert (answer.status, answer.who[:3]) == (200, "web"), (port, pool)
                assert "spiffe://" in answer.said["headers"]["x-forwarded-client-cert"]


#: Where nobody answers, not even to refuse.
SILENT = """
table ip silence {
  chain first { type filter hook prerouting priority -300; policy accept; tcp flags & (syn | ack) == syn drop; }
}
"""
GONE = "10.244.1.99"


@contextmanager
def silent(network: Namespace) -> Iterator[None]:
    """Whoever connects hears nothing; connections that are there stay."""
    network.run("nft", "-f", "-", text=SILENT)
    try:
        yield
    finally:
        network.run("nft", "delete", "table", "ip", "silence")


def left_out(client: Pod, cluster: str) -> set[str]:
    """The addresses of a cluster that Envoy leaves out."""
    assert client.envoy
    lines = (
        it for it in client.envoy.admin("/clusters").splitlines() if it.startswith(f"outbound|{cluster}")
    )
    return {it.split("::")[1] for it in lines if "failed_outlier_check" in it}


def one_of_three(ports: dict[str, int]) -> list[str]:
    pods = [("web-1", "10.244.1.1"), ("web-2", "10.244.1.2"), ("gone", GONE)]
    return [pod("gone", GONE, "web"), endpoint_slice("web", ports, *pods)]


@pytest.fixture(scope="module")
def gone(mesh: TrafficMesh) -> Iterator[None]:
    network = mesh.ground.plugged(GONE)
    with silent(network):
        yield
    network.close()


@pytest.mark.finding("mesh bad days")
@pytest.mark.usefixtures("gone")
def test_an_address_that_is_gone_is_left_out(mesh: TrafficMesh, client: Pod) -> None:
    """As long as the control plane is away nobody else says that it is."""
    web = "80||web.default.svc.cluster.local"
    with mesh.having(*one_of_three({"http": HTTP})):
        with Load(lambda: str(client.http("http://web/", timeout=30).status), workers=40) as load:
            until(lambda: left_out(client, web), "the address to be left out")
        assert load.failures == []
        assert set(load.answers) == {"200"}  # what never arrived is tried again elsewhere
        assert left_out(client, web) == {f"{GONE}:{HTTP}"}
        assert all(client.http("http://web/").seconds < 2 for _ in range(20))
    with mesh.having(*one_of_three({"tcp": ECHO})):
        with ThreadPoolExecutor(30) as threads:
            list(threads.map(lambda _: client.line("web", 9000, "hello", timeout=30), range(30)))
        assert left_out(client, "9000||web.default.svc.cluster.local") == {f"{GONE}:{ECHO}"}
        assert {client.line("web", 9000, "hello").split()[0] for _ in range(20)} == {"web-1", "web-2"}


@pytest.mark.finding("mesh bad days")
def test_the_only_endpoint_is_never_left_out(mesh: TrafficMesh, client: Pod) -> None:
    only = [
        service("only", {"http": 80, "tcp": 9000}, "10.96.0.41"),
        endpoint_slice("only", {"http": HTTP, "tcp": ECHO}, ("other-1", "10.244.1.3")),
    ]
    with mesh.having(*only):
        with silent(mesh.pods["other-1"].network), ThreadPoolExecutor(40) as threads:
            answers = list(threads.map(lambda _: client.http("http://only/", timeout=30).status, range(40)))
            lines = list(threads.map(lambda _: client.line("only", 9000, "hello", timeout=30), range(10)))
        assert (set(answers), set(lines)) == ({503}, {""})
        assert left_out(client, "") == set()
        assert client.http("http://only/").status == 200
        assert client.line("only", 9000, "hello") == "other-1 hello"


@pytest.mark.finding("mesh bad days")
def test_answers_and_slowness_leave_nobody_out(mesh: TrafficMesh, client: Pod) -> None:
    impatient = virtual_service(
        "http: [{timeout: 300ms, retries: {attempts: 0}, route: [{destination: {host: web}}]}]"
    )
    with mesh.having(impatient), ThreadPoolExecutor(30) as threads:
        for asked, status in (("status=500", 500), ("status=503", 503), ("delay=1", 504)):
            found = threads.map(lambda _, it=asked: client.http(f"http://web/?{it}").status, range(90))
            assert set(found) == {status}
            assert left_out(client, "80|") == set()
