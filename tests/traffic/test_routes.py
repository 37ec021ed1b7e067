"""VirtualServices: each field of a rule, seen from both ends."""

from __future__ import annotations

from collections import Counter

import grpc
import pytest

from lateen.testing.envoys import until
from lateen.testing.rules import SUBSETS, destination_rule, rule, virtual_service
from lateen.testing.traffic import Pod, TrafficMesh

TO_V2 = "route: [{destination: {host: web, subset: v2}}]"
TO_V1 = "route: [{destination: {host: web, subset: v1}}]"


def routed(match: str) -> str:
    return virtual_service(f"""
        http:
        - match: [{match}]
          {TO_V2}
        - {TO_V1}
    """)


MATCHES = [
    ("{uri: {exact: /a}}", ["/a", "/a?x=1"], ["/a/", "/A", "/ab"]),
    ("{uri: {prefix: /a}}", ["/a", "/a/b", "/ab"], ["/A", "/b/a"]),
    ("{uri: {regex: '/[0-9]+'}}", ["/12"], ["/12/", "/x"]),
    ("{uri: {exact: /a}, ignoreUriCase: true}", ["/a", "/A"], ["/b"]),
    ("{uri: {prefix: /aB}, ignoreUriCase: true}", ["/ab/c", "/AB"], ["/b"]),
    ("{queryParams: {q: {exact: '1'}}}", ["/?q=1", "/?a=2&q=1"], ["/?q=2", "/"]),
    ("{queryParams: {q: {regex: 'x.+'}}}", ["/?q=xy"], ["/?q=x"]),
    ("{queryParams: {q: {prefix: x}}}", ["/?q=xy"], ["/?q=y"]),
]


@pytest.mark.parametrize(("match", "yes", "no"), MATCHES)
def test_paths_and_queries(mesh: TrafficMesh, client: Pod, match: str, yes: list[str], no: list[str]) -> None:
    with mesh.having(SUBSETS, routed(match)):
        assert {it: client.http(f"http://web{it}").who for it in yes} == dict.fromkeys(yes, "web-2")
        assert {it: client.http(f"http://web{it}").who for it in no} == dict.fromkeys(no, "web-1")


HEADERS = [
    ("{headers: {x-user: {exact: jason}}}", {"x_user": "jason"}, {"x_user": "Jason"}),
    ("{headers: {x-user: {prefix: ja}}}", {"x_user": "jason"}, {}),
    ("{headers: {x-user: {regex: 'j.*n'}}}", {"x_user": "jason"}, {"x_user": "jasons"}),
    ("{headers: {x-user: {}}}", {"x_user": "any"}, {}),
    ("{withoutHeaders: {x-user: {exact: jason}}}", {}, {"x_user": "jason"}),
    ("{withoutHeaders: {x-user: {}}}", {}, {"x_user": "any"}),
    ("{method: {exact: POST}}", {"method": "POST"}, {"method": "GET"}),
    ("{method: {regex: 'P.*'}}", {"method": "PUT"}, {"method": "GET"}),
    ("{authority: {prefix: web.default}}", {"host": "web.default"}, {"host": "web"}),
    ("{scheme: {exact: http}}", {}, None),
    ("{headers: {x-a: {exact: '1'}}, method: {exact: GET}}", {"x_a": "1"}, {"x_a": "1", "method": "PUT"}),
    ("{headers: {x-a: {exact: '1'}}}, {headers: {x-b: {exact: '1'}}}", {"x_b": "1"}, {"x_c": "1"}),
    ("{port: 80}", {}, None),
    ("{sourceLabels: {app: client}}", {}, None),
    ("{sourceNamespace: default}", {}, None),
    ("{gateways: [mesh]}", {}, None),
]  # fmt: skip


@pytest.mark.parametrize(("match", "yes", "no"), HEADERS)
def test_headers_and_callers(
    mesh: TrafficMesh, client: Pod, match: str, yes: dict[str, str], no: dict[str, str] | None
) -> None:
    with mesh.having(SUBSETS, routed(match)):
        assert client.http("http://web/", **yes).who == "web-2"
        if no is not None:
            assert client.http("http://web/", **no).who == "web-1"


@pytest.mark.parametrize("match", [
    "{port: 81}", "{sourceLabels: {app: other}}", "{sourceNamespace: blog}", "{gateways: [some]}",
])  # fmt: skip
def test_rules_for_others_are_not_ours(mesh: TrafficMesh, client: Pod, match: str) -> None:
    with mesh.having(SUBSETS, routed(match)):
        assert {client.http("http://web/").who for _ in range(10)} == {"web-1"}


def test_rules_may_depend_on_the_caller(mesh: TrafficMesh, client: Pod, guest: Pod) -> None:
    for match in ("{sourceLabels: {app: guest}}", "{sourceNamespace: blog}"):
        with mesh.having(SUBSETS, routed(match)):
            assert {client.http("http://web.default/").who for _ in range(5)} == {"web-1"}
            assert {guest.http("http://web.default/").who for _ in range(5)} == {"web-2"}


def test_weights_are_kept(mesh: TrafficMesh, client: Pod) -> None:
    split = virtual_service("""
        http:
        - route:
          - {destination: {host: web, subset: v1}, weight: 80}
          - {destination: {host: web, subset: v2}, weight: 20}
    """)
    with mesh.having(SUBSETS, split):
        found = Counter(client.http("http://web/").who for _ in range(200))
    assert 20 <= found["web-2"] <= 64  # 20 % of 200, five deviations wide
    assert found.total() == found["web-1"] + found["web-2"]


def test_a_weight_of_nothing_gets_nothing(mesh: TrafficMesh, client: Pod) -> None:
    split = virtual_service("""
        http:
        - route:
          - {destination: {host: web, subset: v1}, weight: 0}
          - {destination: {host: web, subset: v2}, weight: 100}
    """)
    with mesh.having(SUBSETS, split):
        assert {client.http("http://web/").who for _ in range(20)} == {"web-2"}


def test_another_service_may_answer(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(virtual_service("http: [{route: [{destination: {host: other}}]}]")):
        assert client.http("http://web/").who == "other-1"
    with mesh.having(
        virtual_service(
            "http: [{route: [{destination: {host: other.default.svc.cluster.local, port: {number: 80}}}]}]"
        )
    ):
        assert client.http("http://web/").who == "other-1"


def test_a_destination_that_is_nothing_answers_503(mesh: TrafficMesh, client: Pod) -> None:
    for destination in ("{host: nowhere}", "{host: web, subset: missing}", "{host: web, port: {number: 4}}"):
        with mesh.having(virtual_service(f"http: [{{route: [{{destination: {destination}}}]}}]")):
            assert client.http("http://web/").status == 503, destination


def test_hosts_that_are_no_service(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(
        virtual_service(
            "http: [{route: [{destination: {host: web.default.svc.cluster.local}}]}]", host="shop.example.com"
        )
    ):
        assert client.http("http://shop.example.com/", via="10.96.0.10").who.startswith("web")


@pytest.mark.parametrize(("match", "rewrite", "asked", "heard"), [
    ("{uri: {prefix: /a}}", "{uri: /b}", "/a/c?x=1", "/b/c?x=1"),
    ("{uri: {exact: /a}}", "{uri: /b}", "/a?x=1", "/b?x=1"),
    ("{uri: {prefix: /a/}}", "{uri: /}", "/a/c", "/c"),
    ("{uri: {regex: '/a.*'}}", "{uri: /b}", "/abc", "/b"),
    ("{uri: {prefix: /a}}", "{uriRegexRewrite: {match: '^/a/(.*)$', rewrite: '/b-\\1'}}", "/a/c", "/b-c"),
    ("{uri: {prefix: /}}", "{authority: other.example}", "/a", "/a"),
])  # fmt: skip
def test_rewrites(mesh: TrafficMesh, client: Pod, match: str, rewrite: str, asked: str, heard: str) -> None:
    spec = f"http: [{{match: [{match}], rewrite: {rewrite}, route: [{{destination: {{host: web}}}}]}}]"
    with mesh.having(virtual_service(spec)):
        said = client.http(f"http://web{asked}").said
    assert said["path"] == heard
    assert said["host"] == ("other.example" if "authority" in rewrite else "web")


@pytest.mark.parametrize(("redirect", "status", "location"), [
    ("{uri: /new}", 301, "http://web/new?x=1"),
    ("{uri: /new, redirectCode: 302}", 302, "http://web/new?x=1"),
    ("{authority: other.example, redirectCode: 307}", 307, "http://other.example/old?x=1"),
    ("{scheme: https}", 301, "https://web/old?x=1"),
    ("{port: 8081}", 301, "http://web:8081/old?x=1"),
    ("{scheme: https, derivePort: FROM_PROTOCOL_DEFAULT}", 301, "https://web/old?x=1"),
])  # fmt: skip
def test_redirects(mesh: TrafficMesh, client: Pod, redirect: str, status: int, location: str) -> None:
    with mesh.having(
        virtual_service(f"http: [{{match: [{{uri: {{prefix: /old}}}}], redirect: {redirect}}}]")
    ):
        answer = client.http("http://web/old?x=1")
        assert (answer.status, answer.headers["location"]) == (status, location)
        assert client.http("http://web/other").status == 404  # no rule takes it


def test_direct_responses(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(virtual_service("http: [{directResponse: {status: 418, body: {string: tea}}}]")):
        answer = client.http("http://web/")
    assert (answer.status, answer.body) == (418, b"tea")


def test_a_timeout_ends_a_request(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(virtual_service("http: [{timeout: 300ms, route: [{destination: {host: web}}]}]")):
        answer = client.http("http://web/?delay=3")
        assert answer.status == 504
        assert answer.seconds < 2
        assert client.http("http://web/?delay=0.05").status == 200
    assert client.http("http://web/?delay=0.6").status == 200


def test_retries_as_written(mesh: TrafficMesh, client: Pod) -> None:
    def tried(retries: str, failures: int, key: str) -> tuple[int, int]:
        before = sum(len(mesh.pods[it].app.heard) for it in ("web-1", "web-2"))
        with mesh.having(
            virtual_service(f"http: [{{retries: {retries}, route: [{{destination: {{host: other}}}}]}}]")
        ):
            status = client.http(f"http://web/?failures={failures}&key={key}").status
        del before
        return status, sum(f"key={key}" in it["path"] for it in mesh.pods["other-1"].app.heard)

    assert tried("{attempts: 3, retryOn: 5xx}", 2, "a") == (200, 3)
    assert tried("{attempts: 3, retryOn: '503'}", 3, "b") == (200, 4)
    assert tried("{attempts: 1, retryOn: 5xx}", 2, "c") == (503, 2)
    assert tried("{attempts: 0}", 1, "d") == (503, 1)
    assert tried("{attempts: 2, retryOn: gateway-error}", 1, "e") == (200, 2)


def test_each_try_may_have_its_own_time(mesh: TrafficMesh, client: Pod) -> None:
    spec = "http: [{retries: {attempts: 2, perTryTimeout: 200ms, retryOn: '5xx'}, route: [{destination: {host: other}}]}]"
    with mesh.having(virtual_service(spec)):
        answer = client.http("http://web/?delay=2&key=slow")
    assert answer.status == 504
    assert sum("key=slow" in it["path"] for it in mesh.pods["other-1"].app.heard) == 3


def test_without_a_rule_what_never_arrived_is_tried_again(mesh: TrafficMesh, client: Pod) -> None:
    # One of two endpoints does not exist: a connection that fails was surely not processed.
    from lateen.testing.mesh import endpoint_slice, pod

    with mesh.having(pod("gone", "10.244.1.99", "web"),
                     endpoint_slice("web", {"http": 8080}, ("web-1", "10.244.1.1"), ("gone", "10.244.1.99")),
                     "{kind: MeshConfig, connectTimeout: 1s}"):  # fmt: skip
        assert {client.http("http://web/").status for _ in range(10)} == {200}


def test_faults(mesh: TrafficMesh, client: Pod) -> None:
    fault = "http: [{{fault: {{{0}}}, route: [{{destination: {{host: web}}}}]}}]"
    with mesh.having(virtual_service(fault.format("abort: {httpStatus: 555, percentage: {value: 100}}"))):
        assert client.http("http://web/").status == 555
    with mesh.having(virtual_service(fault.format("delay: {fixedDelay: 400ms, percentage: {value: 100}}"))):
        answer = client.http("http://web/")
        assert answer.status == 200
        assert answer.seconds >= 0.4
    with mesh.having(virtual_service(fault.format("abort: {httpStatus: 555, percentage: {value: 30}}"))):
        found = Counter(client.http("http://web/").status for _ in range(100))
        assert 8 <= found[555] <= 55
    with mesh.having(virtual_service(fault.format("abort: {httpStatus: 555}"))):
        # Istio: without a percentage nothing is aborted.
        assert client.http("http://web/").status == 200
    with (
        mesh.having(
            virtual_service(fault.format("abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}"))
        ),
        pytest.raises(grpc.RpcError) as refused,
    ):
        client.say("web", 9090)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_headers_are_added_set_and_removed(mesh: TrafficMesh, client: Pod) -> None:
    spec = """
        http:
        - headers:
            request: {set: {x-set: new, Host: rewritten.example}, add: {x-add: more}, remove: [x-gone]}
            response: {set: {x-answer: "1"}, remove: [x-app]}
          route:
          - destination: {host: web}
            headers:
              request: {set: {x-leg: leg}, remove: [x-leg-gone]}
              response: {add: {x-leg-answer: "2"}}
    """
    with mesh.having(virtual_service(spec)):
        answer = client.http("http://web/", x_set="old", x_add="one", x_gone="1", x_leg_gone="1")
    heard = answer.said["headers"]
    assert (heard["x-set"], heard["x-leg"], answer.said["host"]) == ("new", "leg", "rewritten.example")
    assert heard["x-add"] in ("one,more", "more")  # aiohttp shows the last of several
    assert not {"x-gone", "x-leg-gone"} & heard.keys()
    assert (answer.headers["x-answer"], answer.headers["x-leg-answer"]) == ("1", "2")
    assert "x-app" not in answer.headers


def test_each_destination_has_its_own_headers(mesh: TrafficMesh, client: Pod) -> None:
    spec = """
        http:
        - route:
          - {destination: {host: web, subset: v1}, weight: 50, headers: {request: {set: {x-leg: one, Host: one.example}}}}
          - {destination: {host: web, subset: v2}, weight: 50, headers: {response: {set: {x-leg: two}}}}
    """
    with mesh.having(SUBSETS, virtual_service(spec)):
        for _ in range(20):
            answer = client.http("http://web/")
            assert (answer.said["headers"].get("x-leg") == "one") is (answer.who == "web-1")
            assert (answer.said["host"] == "one.example") is (answer.who == "web-1")
            assert (answer.headers.get("x-leg") == "two") is (answer.who == "web-2")


@pytest.mark.parametrize("mirror", [
    "mirror: {host: other}", "mirrors: [{destination: {host: other}, percentage: {value: 100}}]",
    "mirror: {host: other}, mirrorPercentage: {value: 100}",
])  # fmt: skip
def test_requests_are_mirrored(mesh: TrafficMesh, client: Pod, mirror: str) -> None:
    heard = mesh.pods["other-1"].app.heard
    heard.clear()
    with mesh.having(virtual_service(f"http: [{{{mirror}, route: [{{destination: {{host: web}}}}]}}]")):
        assert client.http("http://web/mirrored").who.startswith("web")
        copy = until(lambda: heard and heard[0], "the copy")
    assert (copy["path"], copy["host"]) == ("/mirrored", "web-shadow")


@pytest.mark.parametrize("share", ["mirrorPercentage: {value: 0}", "mirrorPercent: 0"])
def test_a_share_is_mirrored(mesh: TrafficMesh, client: Pod, share: str) -> None:
    heard = mesh.pods["other-1"].app.heard
    heard.clear()
    spec = f"http: [{{mirror: {{host: other}}, {share}, route: [{{destination: {{host: web}}}}]}}]"
    with mesh.having(virtual_service(spec)):
        for _ in range(10):
            client.http("http://web/")
        assert not heard


def test_cross_origin_requests(mesh: TrafficMesh, client: Pod) -> None:
    spec = """
        http:
        - corsPolicy:
            allowOrigins: [{exact: "https://shop.example"}]
            allowMethods: [GET, POST]
            allowHeaders: [x-user]
            exposeHeaders: [x-app]
            maxAge: 1h
            allowCredentials: true
          route: [{destination: {host: web}}]
    """
    with mesh.having(virtual_service(spec)):
        asked = {"method": "OPTIONS", "access_control_request_method": "POST"}
        allowed = client.http("http://web/", origin="https://shop.example", **asked)
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        assert allowed.headers["access-control-allow-methods"] == "GET,POST"
        assert allowed.headers["access-control-max-age"] == "3600"
        assert allowed.headers["access-control-allow-credentials"] == "true"
        simple = client.http("http://web/", origin="https://shop.example")
        assert simple.headers["access-control-expose-headers"] == "x-app"
        other = client.http("http://web/", origin="https://evil.example")
        assert "access-control-allow-origin" not in other.headers


def test_the_first_rule_that_matches_decides(mesh: TrafficMesh, client: Pod) -> None:
    spec = """
        http:
        - match: [{uri: {prefix: /a}}]
          directResponse: {status: 201}
        - match: [{uri: {prefix: /ab}}]
          directResponse: {status: 202}
        - directResponse: {status: 203}
    """
    with mesh.having(virtual_service(spec)):
        assert [client.http(f"http://web{it}").status for it in ("/ab", "/b")] == [201, 203]


def test_rules_are_exported(mesh: TrafficMesh, client: Pod, guest: Pod) -> None:
    with mesh.having(virtual_service("exportTo: ['.']\nhttp: [{directResponse: {status: 201}}]")):
        assert client.http("http://web.default/").status == 201
        assert guest.http("http://web.default/").status == 200


def test_wildcard_hosts(mesh: TrafficMesh, client: Pod) -> None:
    wide = virtual_service(
        "http: [{directResponse: {status: 201}}]", host='"*.default.svc.cluster.local"', name="wide"
    )
    narrow = virtual_service("http: [{directResponse: {status: 202}}]", name="narrow")
    with mesh.having(wide):
        assert client.http("http://other/").status == 201
        with mesh.having(narrow):
            assert [client.http(f"http://{it}/").status for it in ("web", "other")] == [202, 201]


def test_rules_hold_on_ports_whose_protocol_is_found_out(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(SUBSETS, routed("{uri: {prefix: /a}}")):
        assert [client.http(f"http://web:7000{it}").who for it in ("/a", "/b")] == ["web-2", "web-1"]


def test_grpc_is_routed_by_its_method(mesh: TrafficMesh, client: Pod) -> None:
    with mesh.having(SUBSETS, routed("{uri: {prefix: /echo.Echo/Say}, headers: {x-to: {exact: v2}}}")):
        assert {client.say("web", 9090, x_to="v2")["who"] for _ in range(5)} == {"web-2"}
        assert {client.say("web", 9090)["who"] for _ in range(5)} == {"web-1"}


def test_tcp_routes(mesh: TrafficMesh, client: Pod) -> None:
    split = virtual_service("""
        tcp:
        - match: [{port: 9000}]
          route:
          - {destination: {host: web, subset: v1}, weight: 50}
          - {destination: {host: web, subset: v2}, weight: 50}
    """)
    with mesh.having(SUBSETS, split):
        assert {client.line("web", 9000, "hello") for _ in range(30)} == {"web-1 hello", "web-2 hello"}
    only = virtual_service("tcp: [{route: [{destination: {host: web, subset: v2}}]}]")
    with mesh.having(SUBSETS, only):
        assert {client.line("web", 9000, "hello") for _ in range(10)} == {"web-2 hello"}
        assert {client.line("web", 7001, "hello") for _ in range(10)} == {"web-2 hello"}
        assert {client.http("http://web/").who for _ in range(30)} == {"web-1", "web-2"}


def test_tcp_routes_of_some_callers(mesh: TrafficMesh, client: Pod, guest: Pod) -> None:
    spec = virtual_service("""
        tcp:
        - match: [{sourceLabels: {app: client}}]
          route: [{destination: {host: web, subset: v2}}]
        - route: [{destination: {host: web, subset: v1}}]
    """)
    with mesh.having(SUBSETS, spec):
        assert {client.line("web.default", 9000, "hello") for _ in range(5)} == {"web-2 hello"}
        assert {guest.line("web.default", 9000, "hello") for _ in range(5)} == {"web-1 hello"}


def test_a_rule_without_a_destination_rule(mesh: TrafficMesh, client: Pod) -> None:
    late = destination_rule("subsets: [{name: v2, labels: {version: v2}}]", name="late")
    with mesh.having(virtual_service(f"http: [{{{TO_V2}}}]")):
        assert client.http("http://web/").status == 503
        with mesh.having(late):
            assert client.http("http://web/").who == "web-2"


def test_another_rule_may_say_the_rest(mesh: TrafficMesh, client: Pod) -> None:
    root = virtual_service("""
        http:
        - match: [{uri: {prefix: /a}, headers: {x-user: {exact: jason}}}]
          delegate: {name: rest}
          headers: {response: {set: {x-root: "1"}}}
        - match: [{uri: {prefix: /elsewhere}}]
          delegate: {name: nowhere}
        - directResponse: {status: 203}
    """)
    rest = rule("VirtualService", """
        http:
        - match: [{uri: {prefix: /a/b}}]
          directResponse: {status: 201}
        - match: [{uri: {prefix: /a/c}}, {uri: {prefix: /never}}]
          directResponse: {status: 202}
        - match: [{uri: {prefix: /a/d}}]
          headers: {response: {set: {x-rest: "1"}}}
          route: [{destination: {host: web, subset: v2}}]
        - route: [{destination: {host: web, subset: v2}}]
    """, name="rest")  # fmt: skip
    with mesh.having(SUBSETS, root, rest):
        found = [
            client.http(f"http://web{it}", x_user="jason").status
            for it in ("/a/b/c", "/never", "/elsewhere", "/b")
        ]
        assert found == [201, 203, 203, 203]
        answer = client.http("http://web/a/other", x_user="jason")
        assert (answer.who, answer.headers["x-root"]) == ("web-2", "1")
        # Headers are one part, and the delegate's replace the root's.
        answer = client.http("http://web/a/d", x_user="jason")
        assert (answer.headers.get("x-root"), answer.headers["x-rest"]) == (None, "1")
        # One alternative that the root excludes takes the whole rule away.
        assert client.http("http://web/a/c", x_user="jason").status == 200
        assert client.http("http://web/a/b").status == 203


def test_the_mesh_may_say_how_often_it_is_tried(mesh: TrafficMesh, client: Pod) -> None:
    def status(key: str) -> int:
        return client.http(f"http://other/?failures=2&key={key}").status

    assert status("mesh-default") == 503  # what the application answered is not asked for again
    with mesh.having("{kind: MeshConfig, defaultHttpRetryPolicy: {attempts: 3, retryOn: 5xx}}"):
        assert status("mesh-often") == 200
        with mesh.having(
            virtual_service(
                "http: [{retries: {attempts: 0}, route: [{destination: {host: other}}]}]", host="other"
            )
        ):
            assert status("mesh-never") == 503


@pytest.mark.finding("architecture 8")
def test_a_clients_own_rule_comes_before_older_ones_for_all(
    mesh: TrafficMesh, client: Pod, guest: Pod
) -> None:
    def offered(name: str, status: int, namespace: str, export_to: str) -> str:
        return virtual_service(
            f"http: [{{directResponse: {{status: {status}}}}}]\nexportTo: [{export_to}]",
            host="web.default.svc.cluster.local", name=name, namespace=namespace,
        )  # fmt: skip

    # By name and age alone, the first of these would win.
    public = offered("a", 203, "default", '"*"')
    named = offered("b", 202, "default", "blog")
    own = offered("c", 201, "blog", '"."')
    with mesh.having(public, named):
        assert [it.http("http://web.default/").status for it in (client, guest)] == [203, 202]
        with mesh.having(own):
            assert [it.http("http://web.default/").status for it in (client, guest)] == [203, 201]


@pytest.mark.finding("conformance F22")
def test_hosts_that_differ_by_case_are_one(mesh: TrafficMesh, client: Pod) -> None:
    first = virtual_service("http: [{directResponse: {status: 201}}]", host="Shop.Example", name="a")
    second = virtual_service("http: [{directResponse: {status: 202}}]", host="shop.example", name="b")
    with mesh.having(first, second):
        assert client.http("http://outside.example:80/", via="web", host="SHOP.example").status == 201


REDIRECTS = [
    ("{uri: /new}", "http://web/new?q=1"),
    ("{prefixRewrite: /new, scheme: https}", "https://web/new/x?q=1"),
    ("{prefixRewrite: /new, authority: other}", "http://other/new/x?q=1"),
    ("{uri: /new, port: 8443, scheme: https}", "https://web:8443/new?q=1"),
    ("{port: 443, scheme: https}", "https://web/old/x?q=1"),
    ("{port: 80, authority: other}", "http://other/old/x?q=1"),
    ("{derivePort: FROM_REQUEST_PORT, scheme: https}", "https://web:80/old/x?q=1"),
    ("{derivePort: FROM_PROTOCOL_DEFAULT, scheme: https}", "https://web/old/x?q=1"),
]


@pytest.mark.finding("conformance F3")
@pytest.mark.parametrize(("redirect", "location"), REDIRECTS)
def test_redirects_keep_what_they_do_not_change(
    mesh: TrafficMesh, client: Pod, redirect: str, location: str
) -> None:
    it = virtual_service(f"http: [{{match: [{{uri: {{prefix: /old}}}}], redirect: {redirect}}}]")
    with mesh.having(it):
        answer = client.http("http://web/old/x?q=1")
        assert (answer.status, answer.headers["location"]) == (301, location)


@pytest.mark.finding("conformance F3")
def test_what_envoy_refuses_of_a_rule_is_left_out(mesh: TrafficMesh, client: Pod) -> None:
    it = virtual_service("""
        http:
        - match: [{uri: {exact: /bytes}, statPrefix: teapot}]
          directResponse: {status: 418, body: {bytes: /3R/}}
        - match: [{headers: {x-there: {regex: "*"}}, withoutHeaders: {x-not: {regex: "*"}}}]
          directResponse: {status: 201}
        - headers: {request: {set: {":path": /b, x-a: "1"}, remove: [Host, ":method", x-b]}}
          route: [{destination: {host: web}}]
    """)
    with mesh.having(it):
        assert client.http("http://web/bytes").body == b"\xfft\x7f"
        assert client.http("http://web/", x_there="1").status == 201
        heard = client.http("http://web/a", x_there="1", x_not="1", x_b="2").said
        assert (heard["path"], heard["headers"].get("x-a"), heard["headers"].get("x-b")) == ("/a", "1", None)


@pytest.mark.finding("conformance F3")
def test_preflights_of_others_may_be_answered_here(mesh: TrafficMesh, client: Pod) -> None:
    asking = {"method": "OPTIONS", "origin": "https://evil.example", "access_control_request_method": "GET"}
    for word, who in (("FORWARD", True), ("IGNORE", False)):
        policy = f"{{allowOrigins: [{{exact: 'https://good.example'}}], unmatchedPreflights: {word}}}"
        with mesh.having(
            virtual_service(f"http: [{{corsPolicy: {policy}, route: [{{destination: {{host: web}}}}]}}]")
        ):
            assert client.http("http://web/", **asking).who.startswith("web") is who
