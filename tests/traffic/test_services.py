"""Services, pods and the outside: who answers when nobody wrote a rule."""

from __future__ import annotations

import grpc
import pytest

from lateen.testing.applications import BANNER, ECHO, GRPC, HTTP
from lateen.testing.rules import authentication, destination_rule, virtual_service
from lateen.testing.traffic import Pod, TrafficMesh

REGISTRY_ONLY = "{kind: MeshConfig, outboundTrafficPolicy: {mode: REGISTRY_ONLY}}"
DETECTION = "{kind: MeshConfig, protocolDetectionTimeout: 100ms}"


def test_a_service_is_reached_by_its_name_over_mutual_tls(client: Pod) -> None:
    answer = client.http("http://web/hello?x=1")
    assert answer.status == 200
    assert answer.who in ("web-1", "web-2")
    assert answer.said["peer"] == "127.0.0.6"
    assert answer.said["path"] == "/hello?x=1"
    assert "spiffe://cluster.local/ns/default/sa/client" in answer.said["headers"]["x-forwarded-client-cert"]


@pytest.mark.parametrize(
    "host", ["web.default", "web.default.svc", "web.default.svc.cluster.local", "web:80", "10.96.0.10"]
)
def test_all_names_of_a_service_mean_it(client: Pod, host: str) -> None:
    assert client.http(f"http://{host}/").who.startswith("web")


def test_short_names_mean_the_callers_namespace(guest: Pod) -> None:
    assert guest.http("http://web.default/").who.startswith("web")
    # `nodes` alone is no service of this namespace: the request passes to where its address leads, as it is.
    assert "x-forwarded-client-cert" not in guest.http("http://nodes:8080/", via="10.244.1.1").said["headers"]


def test_all_endpoints_take_part(client: Pod) -> None:
    assert {client.http("http://web/").who for _ in range(30)} == {"web-1", "web-2"}


def test_grpc_unary_and_streams(client: Pod) -> None:
    assert client.say("web", 9090)["who"].startswith("web")
    with client.grpc("web", 9090) as channel:
        answers = channel.stream_stream("/echo.Echo/Talk")(iter([b"one", b"two"]), timeout=10)
        assert [it.split()[-1] for it in answers] == [b"one", b"two"]
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/echo.Echo/Fail")(b"PERMISSION_DENIED", timeout=10)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_declared_tcp(client: Pod) -> None:
    assert client.line("web", 9000, "hello").split()[-1] == "hello"


def test_a_port_without_a_known_name_speaks_http_or_anything(client: Pod) -> None:
    found = client.http("http://web:7000/")
    assert found.who.startswith("web")
    assert "x-forwarded-client-cert" in found.said["headers"]  # it was seen to be HTTP, on both sides
    assert client.line("web", 7001, "hello").split()[-1] == "hello"


def test_the_server_may_speak_first_where_detection_ends(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(DETECTION):
        assert "speaks first" in client.line("web", 7002)


def test_the_application_protocol_wins_over_the_name(mesh: TrafficMesh, client: Pod) -> None:
    declared = """
        apiVersion: v1
        kind: Service
        metadata: {name: declared}
        spec: {clusterIP: 10.96.0.30, selector: {app: web}, ports: [{name: http, port: 9001, targetPort: 9001, appProtocol: tcp}]}
        """
    slices = """
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        addressType: IPv4
        metadata: {name: declared-1, labels: {kubernetes.io/service-name: declared}}
        endpoints: [{addresses: [10.244.1.1], targetRef: {kind: Pod, name: web-1, namespace: default}}]
        ports: [{name: http, port: 9001}]
        """
    with mesh.having(declared, slices):
        assert "speaks first" in client.line("declared", 9001)


def test_headless_services_answer_from_the_chosen_pod(client: Pod) -> None:
    for pod, address in (("web-1", "10.244.1.1"), ("web-2", "10.244.1.2")):
        for _ in range(4):
            found = client.http("http://nodes:8080/", via=address)
            assert found.who == pod
            assert "x-forwarded-client-cert" in found.said["headers"]
            assert client.http(f"http://{pod}.nodes:8080/", via=address).who == pod
            assert client.line(address, 9000, "hello").startswith(pod)


def test_a_pod_is_reached_by_its_address(client: Pod) -> None:
    assert client.http("http://10.244.1.2:8080/").who == "web-2"
    assert client.line("10.244.1.2", ECHO, "hello") == "web-2 hello"
    assert client.http("http://10.244.2.1:8080/").who == "legacy-1"


def test_pods_call_themselves(mesh: TrafficMesh) -> None:
    pod = mesh.pods["other-1"]
    assert pod.http("http://other/").who == "other-1"
    assert pod.http("http://10.244.1.3:8080/").who == "other-1"
    assert pod.http("http://127.0.0.1:8080/").who == "other-1"


def test_an_external_name_is_asked_of_dns(client: Pod) -> None:
    assert client.http("http://elsewhere:8080/").who == "outside"


def test_the_outside_is_open_unless_the_mesh_says_so(mesh: TrafficMesh, client: Pod) -> None:
    assert client.http("http://outside.example:8080/").who == "outside"
    assert client.line("203.0.113.10", ECHO, "hello") == "outside hello"
    assert "speaks first" in client.line("203.0.113.10", BANNER)
    with mesh.having(REGISTRY_ONLY):
        assert client.http("http://outside.example:8080/").status == 502
        assert client.line("203.0.113.10", ECHO, "hello") == ""
        assert client.http("http://web/").status == 200
        assert client.http("http://elsewhere:8080/").who == "outside"


def test_pods_without_a_sidecar_call_and_are_called(client: Pod, plain: Pod) -> None:
    assert client.http("http://legacy/").who == "legacy-1"
    assert "x-forwarded-client-cert" not in client.http("http://legacy/").said["headers"]
    assert client.say("legacy", 9090)["who"] == "legacy-1"
    assert client.line("legacy", 9000, "hello") == "legacy-1 hello"
    for port in (HTTP, GRPC, ECHO):
        if port == HTTP:
            assert plain.http(f"http://10.244.1.1:{port}/").who == "web-1"
        elif port == GRPC:
            assert plain.say("10.244.1.1", port)["who"] == "web-1"
        else:
            assert plain.line("10.244.1.1", port, "hello") == "web-1 hello"


def test_a_service_may_be_partly_in_the_mesh(client: Pod) -> None:
    found = {
        it.who: "x-forwarded-client-cert" in it.said["headers"]
        for it in (client.http("http://mixed/") for _ in range(30))
    }
    assert found == {"web-1": True, "legacy-1": False}
    assert {client.line("mixed", 9000, "hello") for _ in range(30)} == {"web-1 hello", "legacy-1 hello"}


PRIVATE = """
apiVersion: v1
kind: Service
metadata: {name: other, annotations: {networking.istio.io/exportTo: .}}
spec: {clusterIP: 10.96.0.11, selector: {app: other}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""


def test_a_service_may_be_kept_from_others(mesh: TrafficMesh, client: Pod, guest: Pod) -> None:
    with mesh.having(PRIVATE, REGISTRY_ONLY):
        assert client.http("http://other.default/").status == 200
        assert guest.http("http://other.default/").status == 502


def test_endpoints_come_and_go(mesh: TrafficMesh, client: Pod) -> None:
    from lateen.testing.mesh import endpoint_slice

    targets = {"http": HTTP}
    with mesh.having(endpoint_slice("web", targets, ("web-2", "10.244.1.2"))):
        assert {client.http("http://web/").who for _ in range(10)} == {"web-2"}
    with mesh.having(endpoint_slice("web", targets)):
        assert client.http("http://web/").status == 503
    assert {client.http("http://web/").who for _ in range(30)} == {"web-1", "web-2"}


def alias(name: str, of: str, more: str = "", namespace: str = "default", annotations: str = "") -> str:
    return f"""
        apiVersion: v1
        kind: Service
        metadata: {{name: {name}, namespace: {namespace}, annotations: {{{annotations}}}}}
        spec: {{type: ExternalName, externalName: {of}{more}}}
        """


@pytest.mark.finding("conformance F1")
@pytest.mark.finding("architecture 13")
@pytest.mark.parametrize(
    "ports", ["", ", ports: [{name: http, port: 80}]", ", ports: [{name: http, port: 8888}]"]
)
def test_an_external_name_may_be_another_name_of_a_service(
    mesh: TrafficMesh, client: Pod, ports: str
) -> None:
    rule = virtual_service(
        "http: [{match: [{uri: {prefix: /special}}], directResponse: {status: 201}}, {route: [{destination: {host: web}}]}]"
    )
    to_alias = virtual_service("http: [{route: [{destination: {host: alias}}]}]", host="other", name="other")
    with mesh.having(
        alias("alias", "web.default.svc.cluster.local", ports), authentication("mtls: {mode: STRICT}")
    ):
        assert "x-forwarded-client-cert" in client.http("http://alias/").said["headers"]
        assert client.line("alias", 9000, "hello").endswith(" hello")
        assert client.say("alias", 9090)["said"] == "hello"
        assert "x-forwarded-client-cert" in client.http("http://alias:7000/").said["headers"]
        with mesh.having(rule):
            assert client.http("http://alias/special").status == 201
        with mesh.having(to_alias):
            assert client.http("http://other/").who.startswith("web")
        limited = destination_rule("trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}")
        with mesh.having(limited):
            assert len({client.http("http://alias/").who for _ in range(20)}) == 1


@pytest.mark.finding("conformance F1")
def test_aliases_of_aliases_and_of_headless_services(mesh: TrafficMesh, client: Pod, guest: Pod) -> None:
    here = "default.svc.cluster.local"
    aliases = [
        alias("far", f"near.{here}", namespace="blog"), alias("near", f"web.{here}"), alias("pods", f"nodes.{here}"),
        alias("circle", f"round.{here}"), alias("round", f"circle.{here}"), alias("hidden", f"other.{here}"),
    ]  # fmt: skip
    with mesh.having(*aliases, PRIVATE):
        assert "x-forwarded-client-cert" in guest.http("http://far/").said["headers"]
        answer = client.http("http://pods:8080/", via="10.244.1.2")
        assert answer.who == "web-2"
        assert "x-forwarded-client-cert" in answer.said["headers"]
        assert client.http("http://hidden/").who == "other-1"
        with mesh.having(REGISTRY_ONLY):
            assert guest.http("http://hidden.default/", via="10.96.0.10").status == 502
            assert client.http("http://circle/", via="10.96.0.10").status == 502


RESERVED = """
apiVersion: v1
kind: Service
metadata: {name: reserved}
spec:
  clusterIP: 10.96.0.31
  selector: {app: web}
  ports:
  - {name: http, port: 15001, targetPort: 8080}
  - {name: grpc, port: 15006, targetPort: 9090}
  - {name: http-ready, port: 15021, targetPort: 8080}
  - {name: http-stats, port: 15090, targetPort: 8080}
  - {name: http-own, port: 15020, targetPort: 8080}
  - {name: tcp, port: 15090, targetPort: 9000, protocol: UDP}
---
apiVersion: v1
kind: Service
metadata: {name: bytes}
spec:
  clusterIP: 10.96.0.32
  selector: {app: web}
  ports: [{name: tcp, port: 15001, targetPort: 9000}, {name: tcp-in, port: 15006, targetPort: 9000}, {name: any, port: 15090, targetPort: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: bytes-1, labels: {kubernetes.io/service-name: bytes}}
endpoints: [{addresses: [10.244.1.1], targetRef: {kind: Pod, name: web-1, namespace: default}}]
ports: [{name: tcp, port: 9000}, {name: tcp-in, port: 9000}, {name: any, port: 8080}]
"""


@pytest.mark.finding("architecture 4")
def test_a_service_may_have_the_ports_of_the_proxies_themselves(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(RESERVED):
        assert client.http("http://web/").status == 200
        for port in (15001, 15006):  # they have an address of their own
            assert client.line("bytes", port, "hello") == "web-1 hello"
        assert client.http("http://bytes:15090/").who == "web-1"


@pytest.mark.finding("architecture 12")
def test_short_names_work_whatever_the_domain_of_the_cluster(
    mesh: TrafficMesh, client: Pod, guest: Pod
) -> None:
    with mesh.having(
        "{kind: MeshConfig, domain: corp.example, outboundTrafficPolicy: {mode: REGISTRY_ONLY}}"
    ):
        for host in ("web", "web.default", "web.default.svc", "web.default.svc.corp.example"):
            assert client.http(f"http://{host}/").who.startswith("web")
        assert guest.http("http://web.default/").who.startswith("web")
        assert client.http("http://web.default.svc.cluster.local/", via="10.96.0.10").status == 502
