"""PeerAuthentication and auto mutual TLS: who must prove who they are, and who is turned away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lateen.api.core import Pod
from lateen.envoy import wellknown
from lateen.names.identity import Identity
from lateen.testing.applications import ECHO, GRPC, HTTP
from lateen.testing.clients import Load
from lateen.testing.envoys import until
from lateen.testing.mesh import removed
from lateen.testing.rules import authentication, destination_rule
from lateen.testing.traffic import Pod as TrafficPod
from lateen.testing.traffic import TrafficMesh

STRICT, PERMISSIVE, DISABLE, UNSET = (
    f"mtls: {{mode: {it}}}" for it in ("STRICT", "PERMISSIVE", "DISABLE", "UNSET")
)
WEB = "selector: {matchLabels: {app: web}}\n"


def open_to_all(plain: TrafficPod, port: int = HTTP) -> bool:
    """Whether web-1 takes what is not encrypted."""
    if port == HTTP:
        try:
            return plain.http(f"http://10.244.1.1:{port}/").status == 200
        except (ConnectionError, OSError):
            return False
    return plain.line("10.244.1.1", port, "hello").endswith("hello")


def is_mutual(client: TrafficPod) -> bool:
    answer = client.http("http://web/")
    assert answer.status == 200
    return "x-forwarded-client-cert" in answer.said["headers"]


def test_strict_refuses_what_is_not_encrypted(
    mesh: TrafficMesh, client: TrafficPod, plain: TrafficPod
) -> None:
    assert open_to_all(plain)
    with mesh.having(authentication(STRICT)):
        assert not open_to_all(plain)
        assert not open_to_all(plain, ECHO)
        assert not open_to_all(plain, 12345)  # a port nobody declares
        heard = len(mesh.pods["web-1"].app.heard)
        assert is_mutual(client)
        assert client.say("web", 9090)["said"] == "hello"
        assert client.line("web", 9000, "hello").endswith("hello")
        assert client.line("web", 7001, "hello").endswith("hello")
        assert client.http("http://web:7000/").status == 200
        assert client.http("http://legacy/").status == 200
        assert len(mesh.pods["web-1"].app.heard) >= heard
    assert open_to_all(plain)


@pytest.mark.parametrize(("policies", "is_open"), [
    ([("istio-system", STRICT)], False),
    ([("istio-system", STRICT), ("default", PERMISSIVE)], True),
    ([("istio-system", PERMISSIVE), ("default", STRICT)], False),
    ([("istio-system", STRICT), ("default", UNSET)], False),
    ([("default", STRICT), ("default", WEB + PERMISSIVE)], True),
    ([("default", PERMISSIVE), ("default", WEB + STRICT)], False),
    ([("default", STRICT), ("default", WEB + UNSET)], False),
    ([("default", STRICT), ("default", "selector: {matchLabels: {app: other}}\n" + PERMISSIVE)], False),
    ([("default", WEB + STRICT + "\nportLevelMtls: {8080: {mode: PERMISSIVE}}")], True),
    ([("default", WEB + PERMISSIVE + "\nportLevelMtls: {8080: {mode: STRICT}}")], False),
    ([("default", WEB + STRICT + "\nportLevelMtls: {9000: {mode: PERMISSIVE}}")], False),
    ([("default", WEB + STRICT + "\nportLevelMtls: {8080: {mode: UNSET}}")], False),
    ([("default", STRICT + "\nportLevelMtls: {8080: {mode: PERMISSIVE}}")], False),
    ([("blog", STRICT)], True),
    ([("istio-system", "selector: {matchLabels: {app: web}}\n" + STRICT)], True),
])  # fmt: skip
def test_the_nearest_policy_decides(
    mesh: TrafficMesh, client: TrafficPod, plain: TrafficPod, policies: list[tuple[str, str]], is_open: bool
) -> None:
    objects = [
        authentication(spec, name=f"p{at}", namespace=namespace)
        for at, (namespace, spec) in enumerate(policies)
    ]
    with mesh.having(*objects):
        assert open_to_all(plain) is is_open
        assert is_mutual(client)


def test_one_port_may_be_open(mesh: TrafficMesh, plain: TrafficPod) -> None:
    with mesh.having(authentication(WEB + STRICT + "\nportLevelMtls: {9000: {mode: PERMISSIVE}}")):
        assert not open_to_all(plain)
        assert open_to_all(plain, ECHO)


def test_a_port_that_no_service_has_may_have_a_policy(mesh: TrafficMesh, plain: TrafficPod) -> None:
    other = "10.244.1.3"  # its service has the port of HTTP only
    spec = "selector: {matchLabels: {app: other}}\n" + STRICT + "\nportLevelMtls: {9000: {mode: DISABLE}}"
    assert plain.line(other, ECHO, "hello") == "other-1 hello"
    with mesh.having(authentication(STRICT)):
        assert plain.line(other, ECHO, "hello") == ""
        with mesh.having(authentication(spec, name="port")):
            assert plain.line(other, ECHO, "hello") == "other-1 hello"


def test_without_mutual_tls_callers_speak_plainly(
    mesh: TrafficMesh, client: TrafficPod, plain: TrafficPod
) -> None:
    with mesh.having(authentication(WEB + DISABLE)):
        assert open_to_all(plain)
        until(lambda: not is_mutual(client), "connections of before to be closed")
        assert client.line("web", 9000, "hello").endswith("hello")
        assert client.say("web", 9090)["said"] == "hello"
        assert client.http("http://nodes:8080/", via="10.244.1.1").status == 200
        assert "x-forwarded-client-cert" in client.http("http://other/").said["headers"]
    with mesh.having(authentication(WEB + STRICT + "\nportLevelMtls: {8080: {mode: DISABLE}}")):
        until(lambda: not is_mutual(client), "connections of before to be closed")
        assert client.line("web", 9000, "hello").endswith("hello")


def test_auto_mutual_tls_can_be_switched_off(mesh: TrafficMesh, client: TrafficPod) -> None:
    with mesh.having("{kind: MeshConfig, enableAutoMtls: false}"):
        until(lambda: not is_mutual(client), "connections of before to be closed")
        with mesh.having(destination_rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}")):
            assert is_mutual(client)


def test_who_claims_a_certificate_is_not_believed(
    client: TrafficPod, plain: TrafficPod, mesh: TrafficMesh
) -> None:
    forged = "By=spiffe://cluster.local/ns/default/sa/web;URI=spiffe://cluster.local/ns/default/sa/admin"
    heard = client.http("http://web/", x_forwarded_client_cert=forged).said["headers"][
        "x-forwarded-client-cert"
    ]
    assert "admin" not in heard
    assert "URI=spiffe://cluster.local/ns/default/sa/client" in heard
    assert (
        "x-forwarded-client-cert"
        not in plain.http("http://10.244.1.1:8080/", x_forwarded_client_cert=forged).said["headers"]
    )
    passed = mesh.pods["outside"].app.heard
    client.http("http://outside.example:8080/", x_forwarded_client_cert=forged)
    assert passed


def test_a_server_of_another_identity_is_refused(mesh: TrafficMesh, client: TrafficPod) -> None:
    """The endpoints of `other` run as `other`; one that shows another certificate of the mesh gets nothing."""
    assert client.http("http://other/").status == 200
    mesh.recertify("other-1", Identity("cluster.local", "default", "evil"))
    with fresh_connections(mesh):
        until(lambda: client.http("http://other/").status == 503, "the wrong certificate")
    mesh.recertify("other-1")
    until(lambda: client.http("http://other/").status == 200, "the right certificate")


def test_a_caller_of_another_trust_domain_is_refused(mesh: TrafficMesh, guest: TrafficPod) -> None:
    assert guest.http("http://web.default/").status == 200
    mesh.recertify("guest", Identity("other.example", "blog", "guest"))
    with fresh_connections(mesh):
        until(lambda: guest.http("http://web.default/").status == 503, "the wrong certificate")
    mesh.recertify("guest")
    until(lambda: guest.http("http://web.default/").status == 200, "the right certificate")


@contextmanager
def fresh_connections(mesh: TrafficMesh) -> Iterator[None]:
    """No connection between Envoys is used twice, so that each request sees the certificates of now."""
    wide = destination_rule(
        "trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}",
        host='"*.cluster.local"',
        namespace="istio-system",
    )
    with mesh.having(wide):
        yield


def test_sidecars_speak_tls_1_3_and_name_themselves(mesh: TrafficMesh, client: TrafficPod) -> None:
    log = "[%FILTER_CHAIN_NAME%] [%DOWNSTREAM_TLS_VERSION%] [%DOWNSTREAM_PEER_URI_SAN%] [%REQUESTED_SERVER_NAME%] [%PROTOCOL%]"
    with mesh.having(f"{{kind: MeshConfig, accessLogFile: /dev/stdout, accessLogFormat: '{log}'}}"):
        servers = [it for name in ("web-1", "web-2") if (it := mesh.pods[name].envoy)]

        def logged(mark: str) -> list[str]:
            return [
                line for it in servers for line in it.log.splitlines() if mark in line and "sa/client" in line
            ]

        calls: tuple[tuple[int, str, Callable[[], object]], ...] = (
            (80, "HTTP/1.1", lambda: client.http("http://web/")),
            (9090, "HTTP/2", lambda: client.say("web", 9090)),
            (9000, "-", lambda: client.line("web", 9000, "hello")),
        )
        for port, protocol, call in calls:
            mark = f"[outbound_.{port}_._.web.default.svc.cluster.local] [{protocol}]"
            # Again until it is seen: a connection that was open before is still served, and logged, as it was.
            found = until(lambda it=mark, again=call: again() and logged(it), mark)
            assert all("[TLSv1.3] [spiffe://cluster.local/ns/default/sa/client]" in it for it in found)


def test_the_applications_own_tls_passes(mesh: TrafficMesh, plain: TrafficPod) -> None:
    # A TLS client without the mesh's words reaches the application byte by byte.
    hello = b"\x16\x03\x01\x00\x05hello\n"
    with plain.connect("10.244.1.1", ECHO) as made:
        made.sendall(hello)
        assert made.recv(100).endswith(hello)
    assert GRPC
    assert wellknown.INBOUND_PORT


UNKNOWN = [removed(Pod, "web-1"), removed(Pod, "web-2")]


@pytest.mark.finding("architecture 2")
def test_nobody_is_called_plainly_who_must_be_called_by_mutual_tls(
    mesh: TrafficMesh, client: TrafficPod
) -> None:
    """Watches are apart: an endpoint may be known before its pod."""
    with mesh.having(authentication(STRICT)), Load(lambda: str(is_mutual(client))) as load:
        for _ in range(3):
            with mesh.having(removed(Pod, "web-2")):
                load.wait_for(100)
                assert {client.http("http://web/").who for _ in range(20)} == {"web-1"}
                assert client.line("web", 9000, "hello") == "web-1 hello"
        load.wait_for(50)
    assert load.failures == []


@pytest.mark.finding("architecture 3")
@pytest.mark.parametrize(
    "spec", [WEB + STRICT, WEB + PERMISSIVE + "\nportLevelMtls: {8080: {mode: STRICT}, 9000: {mode: STRICT}}"]
)
def test_a_proxy_follows_the_policies_of_its_labels_before_its_pod_is_known(
    mesh: TrafficMesh, client: TrafficPod, plain: TrafficPod, spec: str
) -> None:
    with mesh.having(authentication(spec)):
        assert not open_to_all(plain)
        with Load(lambda: str(open_to_all(plain) or open_to_all(plain, ECHO))) as load, mesh.having(*UNKNOWN):
            assert not open_to_all(plain)
            assert not open_to_all(plain, ECHO)
            load.wait_for(50)
        assert load.failures == []
        assert set(load.answers) == {"False"}
        assert is_mutual(client)
    assert open_to_all(plain)


@pytest.mark.finding("architecture 15")
def test_a_mesh_moves_from_one_trust_domain_to_another(mesh: TrafficMesh, guest: TrafficPod) -> None:
    """Clients and servers get their certificates of the new domain at different times."""
    old, new = Identity("cluster.local", "blog", "guest"), Identity("new.example", "blog", "guest")
    server = Identity("new.example", "default", "other")
    with fresh_connections(mesh):
        with mesh.having("{kind: MeshConfig, trustDomain: new.example, trustDomainAliases: [cluster.local]}"):
            for client, others in ((old, None), (new, None), (new, server), (old, server)):
                mesh.recertify("guest", client)
                mesh.recertify("other-1", others)
                mark = f"URI={client}"
                until(lambda it=mark: seen(guest) == it, f"{client} to be taken by {others or 'the old one'}")
                assert {seen(guest) for _ in range(10)} == {mark}
        mesh.recertify("guest")
        until(lambda: guest.http("http://other.default/").status == 503, "the alias to be gone")
        mesh.recertify("other-1")
        until(lambda: seen(guest) == f"URI={old}", "the old domain alone")


def seen(guest: TrafficPod) -> str:
    answer = guest.http("http://other.default/")
    shown = answer.said["headers"].get("x-forwarded-client-cert", "") if answer.status == 200 else ""
    return next((it for it in shown.split(";") if it.startswith("URI=")), "")
