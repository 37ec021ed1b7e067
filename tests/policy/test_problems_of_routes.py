"""What leads nowhere is told, with what was probably meant, and what leads somewhere is not."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

import pytest
import yaml
from hypothesis import given, settings

from lateen.api.core import Pod, Service
from lateen.demo.commands import examples
from lateen.incremental import Change, Database
from lateen.names.problems import Severity
from lateen.policy.problems import MOST, problems, spelling
from lateen.registry.facts import new_database
from lateen.testing import worlds
from lateen.testing.mesh import changed, mesh, pod, pod_object, removed, service
from lateen.testing.rules import SUBSETS, authentication, destination_rule, rule, virtual_service

WEB = (
    service("web", {"http": 80, "metrics": 9090}, target=8080),
    pod("web-1", "10.0.0.1", "web", version="v1", ports={"http": 8080}),
    pod("web-2", "10.0.0.2", "web", version="v2", ports={"http": 8080}),
)
GATEWAY = (
    *(
        f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {it}}}}}"
        for it in ("istio-system", "default", "shop")
    ),
    pod_object("gateway-1", "istio-system", {"istio": "ingressgateway"}, "gateway", "10.0.0.9", {}),
    rule(
        "Gateway",
        "selector: {istio: ingressgateway}\n"
        "servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*.shop.example', shop/only.example]}]",
        name="gw",
    ),
)


def told(db: Database) -> list[str]:
    return [f"{it.severity} {it}" for it in problems(db)]


def one(db: Database) -> str:
    [found] = told(db)
    return found


def to(destination: str, more: str = "", **named: str) -> str:
    return virtual_service(f"http: [{{route: [{{destination: {{{destination}}}}}]}}]\n{more}", **named)


# --- hosts -----------------------------------------------------------------------------------


@pytest.mark.finding("newcomer D.2.2")
@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("weeb", "there is no Service weeb in namespace default: did you mean web?; requests"),
        ("wbe", "did you mean web?"),
        ("weeb.default.svc.cluster.local", "did you mean web.default.svc.cluster.local?"),
        ("cart", "there is no Service cart in namespace default: did you mean cart.shop.svc.cluster.local?"),
        ("nowhere", "there is no Service nowhere in namespace default; requests that are sent there fail"),
        ("cart.shop", "only names without a dot are completed: write cart.shop.svc.cluster.local"),
        ("cart.shop.svc", "write cart.shop.svc.cluster.local"),
        ("web.default.svc.cluster.local.", "write web.default.svc.cluster.local"),
        (
            "api.example.com",
            "is no Service of this cluster, and a ServiceEntry that defines it has no effect",
        ),
    ],
)
def test_a_destination_that_is_no_service_is_told_with_what_was_meant(host: str, said: str) -> None:
    cart = (
        service("cart", {"http": 80}, namespace="shop"),
        pod("cart", "10.0.1.1", "cart", namespace="shop"),
    )
    found = one(mesh(*WEB, *cart, to(f"host: {host}, port: {{number: 80}}")))
    assert found.startswith("Error VirtualService default/rule: spec.http[0].route[0].destination.host: ")
    assert said in found


@pytest.mark.finding("newcomer D.2.2")
def test_what_is_right_is_not_told() -> None:
    assert told(mesh(*WEB, *GATEWAY, SUBSETS, to("host: web, subset: v1, port: {number: 80}"))) == []
    assert told(mesh(*WEB, to("host: web.default.svc.cluster.local"))) == []
    assert told(mesh(*WEB, to("host: web", host="'*'"))) == []
    assert (
        told(
            mesh(*WEB, *GATEWAY, to("host: web, port: {number: 80}", "gateways: [gw]", host="a.shop.example"))
        )
        == []
    )


@pytest.mark.finding("newcomer D.2.2")
def test_a_short_name_means_the_namespace_of_who_writes_it() -> None:
    home = (
        service("cart", {"http": 80}, namespace="shop"),
        pod("cart", "10.0.1.1", "cart", namespace="shop"),
    )
    delegate = rule(
        "VirtualService", "http: [{route: [{destination: {host: cart}}]}]", name="rest", namespace="shop"
    )
    root = virtual_service("http: [{delegate: {name: rest, namespace: shop}}]")
    assert told(mesh(*WEB, *home, delegate, root)) == []
    there = delegate.replace("namespace: shop", "namespace: default")
    assert "there is no Service cart in namespace default" in told(mesh(*WEB, *home, there))[0]


@pytest.mark.finding("newcomer D.2.2")
def test_objects_may_come_and_go_in_any_order() -> None:
    db = mesh(to("host: web, port: {number: 80}"))
    assert "no Service web" in one(db)
    db.apply(changed(*WEB))
    assert told(db) == []
    db.apply([removed(Pod, "web-1"), removed(Pod, "web-2")])
    assert one(db).startswith("Warning VirtualService default/rule: spec.http[0].route[0].destination.host: ")
    assert "Service default/web selects no pod (app=web)" in one(db)
    db.apply([removed(Service, "web")])
    assert "no Service web" in one(db)


@pytest.mark.finding("newcomer D.2.2")
def test_what_costs_no_request_is_a_warning() -> None:
    mirrored = virtual_service("""
        http:
        - route: [{destination: {host: web, port: {number: 80}}, weight: 100}, {destination: {host: later}, weight: 0}]
          mirror: {host: copies}
          mirrors: [{destination: {host: more}}]
        tls: [{match: [{sniHosts: [web]}], route: [{destination: {host: never}}]}]
    """)
    assert [it.path for it in problems(mesh(*WEB, mirrored))] == [
        "spec.http[0].mirror.host",
        "spec.http[0].mirrors[0].destination.host",
        "spec.http[0].route[1].destination.host",
        "spec.tls[0].route[0].destination.host",
    ]
    assert {it.severity for it in problems(mesh(*WEB, mirrored))} == {Severity.WARNING}


@pytest.mark.finding("newcomer D.2.2")
def test_a_service_that_callers_may_not_call_is_told() -> None:
    hidden = WEB[0].replace("name: web\n", "name: web\n  annotations: {networking.istio.io/exportTo: '.'}\n")
    text = to("host: web, port: {number: 80}", "gateways: [gw]", host="a.shop.example")
    found = one(mesh(hidden, *WEB[1:], *GATEWAY, text))
    assert found.startswith("Error")
    assert "web.default.svc.cluster.local is not exported to istio-system" in found
    assert told(mesh(hidden, *WEB[1:], to("host: web"))) == []


@pytest.mark.finding("newcomer D.2.2")
def test_a_host_that_is_nearly_a_service_is_told() -> None:
    cart = (
        service("cart", {"http": 80}, namespace="shop"),
        pod("cart", "10.0.1.1", "cart", namespace="shop"),
    )
    for host, said in (
        ("weeb", "there is no Service weeb in namespace default: did you mean web?"),
        ("cart", "did you mean cart.shop.svc.cluster.local?"),
        ("cart.shop", "only names without a dot are completed: write cart.shop.svc.cluster.local"),
    ):
        found = one(mesh(*WEB, *cart, to("host: web, port: {number: 80}", host=host)))
        assert found.startswith("Warning VirtualService default/rule: spec.hosts[0]: ")
        assert said in found
        assert found.endswith("; who calls that Service does not follow this")
    for host in ("other", "api.example.com", "'*.example.com'", "cart.other"):
        assert told(mesh(*WEB, *cart, to("host: web, port: {number: 80}", host=host))) == [], host


# --- subsets ---------------------------------------------------------------------------------


@pytest.mark.finding("newcomer D.2.3")
def test_a_subset_that_nobody_defines_is_told() -> None:
    text = to("host: web, subset: v3, port: {number: 80}")
    found = one(mesh(*WEB, text))
    assert found.startswith("Error VirtualService default/rule: spec.http[0].route[0].destination.subset: ")
    assert "no DestinationRule is for web.default.svc.cluster.local: write one with subset v3" in found
    assert "DestinationRule default/subsets defines v1, v2" in one(mesh(*WEB, SUBSETS, text))
    assert told(mesh(*WEB, SUBSETS, text.replace("v3", "v2"))) == []


@pytest.mark.finding("newcomer D.2.3")
def test_a_subset_that_a_gateways_namespace_does_not_see_is_told() -> None:
    private = SUBSETS + "\n  exportTo: ['.']\n"
    text = to("host: web, subset: v1, port: {number: 80}", "gateways: [gw, mesh]", host="a.shop.example")
    found = one(mesh(*WEB, *GATEWAY, private, text))
    assert found.startswith("Warning")
    assert "for callers in istio-system: no DestinationRule is for" in found


@pytest.mark.finding("newcomer D.2.3")
def test_a_subset_without_pods_is_told_where_something_is_sent_to_it() -> None:
    defined = destination_rule(
        "subsets: [{name: v3, labels: {version: v3}}, {name: all}, {name: odd, labels: {app: cart}}]",
        name="web",
    )
    assert told(mesh(*WEB, defined)) == [], "who prepares a version does no harm"
    found = one(mesh(*WEB, defined, to("host: web, subset: v3, port: {number: 80}")))
    assert found.startswith("Warning VirtualService default/rule: spec.http[0].route[0].destination.subset: ")
    assert (
        "subset v3 (version=v3) selects none of the pods of Service default/web, which have version: v1, v2; requests"
        in found
    )
    nothing_runs = told(mesh(WEB[0], defined, to("host: web, subset: v3, port: {number: 80}")))
    assert [it.partition("destination.")[2].partition(":")[0] for it in nothing_runs] == ["host"]
    assert told(mesh(*WEB, defined, to("host: web, subset: all, port: {number: 80}"))) == []
    assert "(app=cart) selects none" in one(
        mesh(*WEB, pod("cart", "10.0.0.3", "cart"), defined, to("host: web, subset: odd"))
    )


@pytest.mark.finding("newcomer D.2.3")
def test_a_rule_for_no_host_is_told() -> None:
    found = one(mesh(*WEB, destination_rule("subsets: [{name: v1}]", host="weeb")))
    assert found.startswith("Warning DestinationRule default/rule: spec.host: there is no Service weeb")
    assert found.endswith("did you mean web?; the rule has no effect")
    assert told(mesh(*WEB, destination_rule("trafficPolicy: {}", host="'*.local'"))) == []
    alias = "{apiVersion: v1, kind: Service, metadata: {name: other}, spec: {type: ExternalName, externalName: web.default.svc.cluster.local}}"
    assert "write that name" in one(mesh(*WEB, alias, destination_rule("trafficPolicy: {}", host="other")))
    assert told(mesh(*WEB, alias, SUBSETS, to("host: other, subset: v1, port: {number: 80}"))) == []


# --- ports -----------------------------------------------------------------------------------


@pytest.mark.finding("newcomer D.2.4")
def test_a_port_that_a_service_does_not_have_is_told() -> None:
    found = one(mesh(*WEB, to("host: web, port: {number: 8081}")))
    assert found.startswith(
        "Error VirtualService default/rule: spec.http[0].route[0].destination.port.number: "
    )
    assert "Service default/web has no port 8081, it has 80 (http), 9090 (metrics); requests" in found
    assert "8080 is the port of its pods, write 80" in one(mesh(*WEB, to("host: web, port: {number: 8080}")))
    level = destination_rule("trafficPolicy: {portLevelSettings: [{port: {number: 81}}]}")
    assert "spec.trafficPolicy.portLevelSettings[0].port.number" in one(mesh(*WEB, level))


@pytest.mark.finding("newcomer D.2.4")
def test_a_route_without_port_is_told_only_where_it_leads_nowhere() -> None:
    """As routing does it: a service with one port is reached there, another at the port that was called."""
    api = (service("api", {"http": 8000, "more": 8001}), pod("api-1", "10.0.0.5", "api"))
    found = one(mesh(*WEB, *api, to("host: api")))
    assert found.startswith(
        "Error VirtualService default/rule: spec.http[0].route[0].destination.port: say which port"
    )
    assert (
        "since Service default/api does not have the one that was called (80), it has 8000 (http), 8001 (more)"
        in found
    )
    single = service("api", {"http": 8000})
    assert told(mesh(*WEB, single, api[1], to("host: api"))) == []
    same = service("api", {"http": 80, "more": 8001})
    assert told(mesh(*WEB, same, api[1], to("host: api"))) == []
    several = mesh(WEB[0].replace("metrics", "http-metrics"), *WEB[1:], same, api[1], to("host: api"))
    assert one(several).startswith("Warning")
    assert "the one that was called (9090)" in one(several)
    behind = to("host: web", "gateways: [gw]", host="a.shop.example")
    assert told(mesh(*WEB, *GATEWAY, behind)) == []
    matched = virtual_service("http: [{match: [{port: 9090}], route: [{destination: {host: api}}]}]")
    named = WEB[0].replace("metrics", "http-metrics")
    assert "(9090)" in one(mesh(named, *WEB[1:], same, api[1], matched))
    assert told(mesh(*WEB, same, api[1], matched)) == [], "nobody knows what a port without a protocol speaks"


@pytest.mark.finding("newcomer D.2.4")
def test_a_target_port_by_a_name_that_no_container_has_is_told() -> None:
    named = WEB[0].replace("targetPort: 8080", "targetPort: htpp")
    found = told(mesh(named, *WEB[1:]))[0]
    assert found.startswith("Error Service default/web: spec.ports[0].targetPort: ")
    assert (
        'no container of the pods has a port named "htpp", so requests to port 80 fail: did you mean http?'
        in found
    )
    assert told(mesh(WEB[0].replace("targetPort: 8080", "targetPort: http"), *WEB[1:])) == []
    assert told(mesh(named)) == [], "nothing runs yet"
    assert told(mesh(named.replace("namespace: default", "namespace: kube-system"), *(
        it.replace("namespace: default", "namespace: kube-system") for it in WEB[1:]))) == []  # fmt: skip
    ended = WEB[1].replace("phase: Running", "phase: Succeeded")
    assert told(mesh(named, ended)) == []


# --- other VirtualServices -------------------------------------------------------------------


def at(created: str, text: str) -> str:
    return text.replace("metadata: {", f'metadata: {{creationTimestamp: "{created}", ', 1)


@pytest.mark.finding("newcomer D.2.12")
def test_of_two_for_one_host_the_one_without_effect_is_told() -> None:
    first, second = (to("host: web", name=it) for it in ("dup1", "dup2"))
    found = one(mesh(*WEB, first, second))
    assert found.startswith(
        "Warning VirtualService default/dup2: spec.hosts[0]: VirtualService default/dup1 routes web.default.svc"
    )
    assert "both are equally old, and its name comes first" in found
    late, early = "2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"
    found = one(mesh(*WEB, at(late, first), at(early, second)))
    assert found.startswith("Warning VirtualService default/dup1: ")
    assert f"it is older (of {early})" in found


@pytest.mark.finding("newcomer D.2.12")
def test_rules_for_different_callers_do_not_hide_each_other() -> None:
    own = to("host: web", "exportTo: ['.']", name="own")
    public = to("host: web", name="all")
    assert told(mesh(*WEB, own, public)) == [], "others follow the public one"
    assert (
        told(
            mesh(
                *WEB,
                public,
                to("host: web", "gateways: [gw]", name="door"),
                *GATEWAY[:-1],
                GATEWAY[-1].replace("*.shop.example", "*"),
            )
        )
        == []
    )
    named = to("host: web", "exportTo: [default]", name="aaa", namespace="team").replace(
        "web", "web.default.svc.cluster.local"
    )
    found = [it for it in told(mesh(*WEB, own, named)) if "spec.hosts" in it]
    assert len(found) == 1
    assert "VirtualService team/aaa: spec.hosts[0]: VirtualService default/own routes" in found[0]
    assert "it is kept to namespace default" in found[0]


# --- gateways and selectors ------------------------------------------------------------------


@pytest.mark.finding("newcomer D.2.14")
def test_a_gateway_that_does_not_exist_is_told() -> None:
    text = to("host: web, port: {number: 80}", "gateways: [gww]", host="a.shop.example")
    found = one(mesh(*WEB, *GATEWAY, text))
    assert found.startswith("Error VirtualService default/rule: spec.gateways[0]: ")
    assert found.endswith("there is no Gateway gww in namespace default: did you mean gw?")
    both = one(mesh(*WEB, *GATEWAY, text.replace("[gww]", "[mesh, gww]")))
    assert both.startswith("Warning VirtualService default/rule: spec.gateways[1]: ")
    there = one(mesh(*WEB, *GATEWAY, text.replace("[gww]", "[shop/gw]")))
    assert "there is no Gateway gw in namespace shop: did you mean default/gw?" in there


@pytest.mark.finding("newcomer D.2.14")
def test_a_gateway_that_does_not_take_a_host_is_told() -> None:
    text = to("host: web, port: {number: 80}", "gateways: [gw]", host="HOST")
    found = one(mesh(*WEB, *GATEWAY, text.replace("HOST", "shop.example")))
    assert found.startswith(
        "Warning VirtualService default/rule: spec.hosts[0]: no server of Gateway default/gw takes shop.example"
    )
    assert "its hosts are *.shop.example, only.example" in found
    assert "from namespace default" in one(mesh(*WEB, *GATEWAY, text.replace("HOST", "only.example")))
    for right in ("a.b.shop.example", "'*'", "'*.example'", "'*.a.shop.example'", "A.Shop.Example"):
        assert told(mesh(*WEB, *GATEWAY, text.replace("HOST", right))) == []
    kept = one(mesh(*WEB, *GATEWAY, text.replace("HOST", "a.shop.example") + "\n  exportTo: ['.']"))
    assert "spec.gateways[0]: this is not exported to istio-system" in kept


@pytest.mark.finding("newcomer D.2.14")
def test_a_selector_that_selects_nothing_is_told() -> None:
    wrong = GATEWAY[-1].replace("ingressgateway", "ingresgateway")
    found = one(mesh(*GATEWAY[:-1], wrong))
    assert found.startswith(
        "Warning Gateway default/gw: spec.selector: no pod has these labels (istio=ingresgateway)"
    )
    assert found.endswith("did you mean istio=ingressgateway?")
    policy = authentication("selector: {matchLabels: {app: webb}}\nmtls: {mode: STRICT}")
    found = one(mesh(*WEB, policy))
    assert found.startswith("Warning PeerAuthentication default/rule: spec.selector.matchLabels: ")
    assert "(app=webb), so this has no effect: did you mean app=web?" in found
    assert told(mesh(*WEB, policy.replace("webb", "web"))) == []


# --- all of them -----------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(worlds.histories, worlds.orders)
def test_what_is_told_does_not_depend_on_the_way_there(
    history: list[list[Change]], order: Sequence[type]
) -> None:
    db = new_database()
    for batch in worlds.torn(history, order):
        db.apply(batch)
        found = problems(db)
        assert list(found) == sorted(set(found))
    at_once = new_database()
    at_once.apply([it for batch in worlds.torn(history, order) for it in batch])
    assert problems(db) == problems(at_once)


def test_of_one_object_so_much_is_told() -> None:
    many = ", ".join(f"{{destination: {{host: no-{it}}}, weight: 1}}" for it in range(MOST + 9))
    found = problems(mesh(virtual_service(f"http: [{{route: [{many}]}}]")))
    assert len(found) == MOST + 1
    assert [it.message for it in found if not it.path] == [
        f"more than {MOST} problems: the others are not told"
    ]


def test_names_differ_by_one_slip() -> None:
    known = spelling.known(["reviews", "ratings", "ab"])
    for slip in ("review", "reviewss", "rewiews", "reveiws", "reviews"):
        assert spelling.near(slip, known) == "reviews"
    assert spelling.near("abb", known) == "ab"
    for other in ("rating-v2", "ac", "a", "b", "", "x" * 10_000):
        assert spelling.near(other, known) == ""


def big(size: int) -> Database:
    """Services, pods and routes, all right but one of ten."""
    db = new_database()
    db.apply(changed(*(
        text for it in range(size)
        for text in (
            service(f"s{it}", {"http": 80}), pod(f"p{it}", f"10.{it >> 8}.{it & 255}.1", f"s{it}"),
            to(f"host: {'no' if it % 10 == 0 else 's'}{it}", host=f"s{it}", name=f"r{it}"),
        )
    )))  # fmt: skip
    return db


def test_a_change_costs_no_more_where_there_is_more() -> None:
    def ran(size: int) -> tuple[int, int]:
        db = big(size)
        problems(db)
        first = len(db.executed)
        db.apply(changed(to("host: weeb", host="s1", name="r1")))
        problems(db)
        return first, len(db.executed)

    (first, after), (first_of_more, after_of_more) = ran(50), ran(200)
    assert first_of_more < 4.5 * first
    assert after_of_more == after < 20


def rivals(size: int) -> Database:
    """All for one host, each for its own callers and for those of the others."""
    homes = ", ".join(f"n{it}" for it in range(size))
    text = to("host: web", f"exportTo: [{homes}]")
    return mesh(*WEB, *(text.replace("name: rule", f"name: r{it}") for it in range(size)))


def many_hosts(size: int) -> Database:
    """Hosts that a gateway does not take, and gateways that are the same."""
    hosts, taken = (", ".join(f"h{it}.{end}.example" for it in range(size)) for end in ("a", "b"))
    names = ", ".join(["gw"] * size)
    own = rule("Gateway", f"selector: {{istio: ingressgateway}}\nservers: [{{hosts: [{taken}]}}]", name="gw")
    return mesh(*GATEWAY[:-1], own, rule("VirtualService", f"hosts: [{hosts}]\ngateways: [{names}]"))


@pytest.mark.parametrize("world", [big, rivals, many_hosts])
def test_the_first_look_grows_with_what_is_written_and_not_with_its_square(
    world: Callable[[int], Database],
) -> None:
    def seconds(size: int) -> float:
        found = []
        for _ in range(3):
            db = world(size)
            gc.collect()
            begun = time.process_time()
            problems(db)
            found.append(time.process_time() - begun)
        return min(found)

    assert seconds(160) < 4 * seconds(80)


def test_the_sample_shop_has_no_problems() -> None:
    """Its workloads as pods, beside the gateway's: what is right stays without a word."""
    texts = [it.read_text() for it in sorted(examples().rglob("*.yaml"))]
    deployments = [
        it for text in texts for it in yaml.safe_load_all(text) if it and it["kind"] == "Deployment"
    ]
    pods = [
        {
            "apiVersion": "v1", "kind": "Pod", "spec": it["spec"]["template"]["spec"],
            "metadata": {**it["spec"]["template"]["metadata"], "name": f"{it['metadata']['name']}-1"},
        }
        for it in deployments
    ]  # fmt: skip
    assert len(pods) > 10
    assert told(mesh(*GATEWAY[:-1], *texts, *map(yaml.safe_dump, pods))) == []
