"""What applies, and to whom."""

from __future__ import annotations

import pytest

from lateen.api.destination_rule import ClientTLSMode, SimpleLB
from lateen.api.mesh_config import MeshConfig
from lateen.api.security import MutualTLSMode
from lateen.compile import horizons
from lateen.incremental import Change
from lateen.names import labels
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.policy import authentication, gateways, routing, traffic
from lateen.policy.visibility import exported, visible_services
from lateen.registry.facts import ONLY, Switches
from lateen.testing.mesh import changed, mesh, service

REVIEWS = ServiceKey("default", "reviews.default.svc.cluster.local")


@pytest.mark.parametrize(
    ("export_to", "client", "sees"),
    [
        ([], "b", True),
        (["."], "a", True),
        (["."], "b", False),
        (["~"], "a", False),
        (["b"], "b", True),
        (["*"], "b", True),
    ],
)
def test_export_to(export_to: list[str], client: str, sees: bool) -> None:
    assert exported(export_to, "a", client) is sees


def test_a_private_service_is_not_seen_from_other_namespaces() -> None:
    private = service("cart", {"http": 80}, namespace="shop").replace(
        "  name: cart", "  name: cart\n  annotations: {networking.istio.io/exportTo: .}"
    )
    db = mesh(private)
    assert [it.hostname for it in visible_services(db, "shop")] == ["cart.shop.svc.cluster.local"]
    assert visible_services(db, "blog") == ()


def rule(name: str, namespace: str, host: str, extra: str = "{}") -> str:
    return f"""
        apiVersion: networking.istio.io/v1
        kind: DestinationRule
        metadata: {{name: {name}, namespace: {namespace}}}
        spec: {{host: {host}, trafficPolicy: {extra}}}
    """


def test_the_clients_rule_wins_then_the_owners_then_the_meshs() -> None:
    host = REVIEWS.hostname
    db = mesh(
        rule("own", "client", host),
        rule("owner", "default", "reviews"),
        rule("all", "istio-system", '"*.local"'),
    )
    assert traffic.rule_for(db, REVIEWS, "client") == ObjectKey("client", "own")
    assert traffic.rule_for(db, REVIEWS, "other") == ObjectKey("default", "owner")
    assert traffic.rule_for(db, ServiceKey("x", "y.x.svc.cluster.local"), "other") == ObjectKey(
        "istio-system", "all"
    )


def test_a_port_replaces_and_a_subset_overrides() -> None:
    db = mesh("""
        apiVersion: networking.istio.io/v1
        kind: DestinationRule
        metadata: {name: r}
        spec:
          host: reviews
          trafficPolicy:
            loadBalancer: {simple: RANDOM}
            tls: {mode: ISTIO_MUTUAL}
            portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}]
          subsets:
          - {name: v1, labels: {version: v1}, trafficPolicy: {tls: {mode: DISABLE}}}
    """)
    key = ObjectKey("default", "r")
    whole, port, subset = (
        traffic.policy(db, key, "", 1),
        traffic.policy(db, key, "", 80),
        traffic.policy(db, key, "v1", 1),
    )
    assert whole.load_balancer
    assert whole.load_balancer.simple is SimpleLB.RANDOM
    assert port.load_balancer
    assert (port.load_balancer.simple, port.tls) == (SimpleLB.ROUND_ROBIN, None)
    assert subset.tls
    assert (subset.tls.mode, subset.load_balancer) == (ClientTLSMode.DISABLE, whole.load_balancer)
    assert traffic.subsets(db, key) == (("v1", labels.of({"version": "v1"})),)
    assert traffic.policy(db, None, "", 1) == traffic.TrafficPolicy()


def peers(name: str, namespace: str, mode: str, more: str = "") -> str:
    return f"""
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "{name}"}}
        spec: {{mtls: {{mode: {mode}}} {more}}}
    """


def test_port_before_workload_before_namespace_before_mesh() -> None:
    app = labels.of({"app": "a"})
    db = mesh()
    assert authentication.mode(db, "n", app, 80) is MutualTLSMode.PERMISSIVE
    db.apply(changed(peers("m", "istio-system", "STRICT")))
    assert authentication.mode(db, "n", app, 80) is MutualTLSMode.STRICT
    db.apply(changed(peers("n", "n", "DISABLE")))
    assert authentication.mode(db, "n", app, 80) is MutualTLSMode.DISABLE
    db.apply(
        changed(
            peers(
                "w", "n", "UNSET", ", selector: {matchLabels: {app: a}}, portLevelMtls: {80: {mode: STRICT}}"
            )
        )
    )
    assert authentication.mode(db, "n", app, 80) is MutualTLSMode.STRICT
    assert authentication.mode(db, "n", app, 81) is MutualTLSMode.DISABLE
    db.apply(changed(peers("a", "n", "PERMISSIVE")))
    assert authentication.mode(db, "n", labels.of({"app": "b"}), 80) is MutualTLSMode.PERMISSIVE, (
        "the oldest wins"
    )


def virtual(name: str, host: str, gateways_: str = "[]", namespace: str = "default") -> str:
    return f"""
        apiVersion: networking.istio.io/v1
        kind: VirtualService
        metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "{name}"}}
        spec: {{hosts: [{host}], gateways: {gateways_}, http: [{{route: [{{destination: {{host: reviews}}}}]}}]}}
    """


def test_the_oldest_virtual_service_of_the_most_specific_host_routes_it() -> None:
    db = mesh(
        virtual("b", "reviews"),
        virtual("a", "reviews"),
        virtual("c", '"*.cluster.local"'),
        virtual("d", "reviews", "[gw]"),
    )
    assert routing.rule_for_host(db, "default", REVIEWS.hostname) == ObjectKey("default", "a")
    assert routing.rule_for_host(db, "default", "x.default.svc.cluster.local") == ObjectKey("default", "c")
    assert routing.rule_for_host(db, "default", "example.com") is None


def test_a_gateway_narrows_hosts_to_its_own() -> None:
    db = mesh("""
        apiVersion: networking.istio.io/v1
        kind: Gateway
        metadata: {name: gw, namespace: default}
        spec:
          selector: {istio: ingressgateway}
          servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["shop.example.com", "other/*.org"]}]
    """, virtual("a", '"*"', "[gw]"), virtual("b", "x.org", "[default/gw]", "other"), virtual("c", "y.org", "[gw]"))  # fmt: skip
    [server] = gateways.servers(db, "istio-system", labels.of({"istio": "ingressgateway"}))
    found = {(it.host, it.rule.name) for it in gateways.routed(db, "istio-system", server)}
    assert found == {("shop.example.com", "a"), ("x.org", "b")}
    assert gateways.servers(db, "istio-system", labels.of({"istio": "egress"})) == ()


def test_rules_of_one_host_and_audience_are_one() -> None:
    host = REVIEWS.hostname
    named = "subsets: [{{name: {0}, labels: {{version: {0}}}}}]"
    db = mesh(*(
        f"""
        apiVersion: networking.istio.io/v1
        kind: DestinationRule
        metadata: {{name: {name}, namespace: default}}
        spec: {{host: {host}, {named.format(subset)}{more}}}
        """
        for name, subset, more in (("a", "v1", ""), ("b", "v2", ""), ("c", "v3", ", exportTo: [other]"))
    ))  # fmt: skip
    rule_key = traffic.rule_for(db, REVIEWS, "client")
    assert [name for name, _ in traffic.subsets(db, rule_key)] == ["v1", "v2"]


def test_what_a_subset_says_for_a_port_replaces_everything() -> None:
    db = mesh("""
        apiVersion: networking.istio.io/v1
        kind: DestinationRule
        metadata: {name: r}
        spec:
          host: reviews
          trafficPolicy: {loadBalancer: {simple: RANDOM}}
          subsets:
          - name: v1
            trafficPolicy:
              portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]
    """)
    rule_key = ObjectKey("default", "r")
    assert traffic.policy(db, rule_key, "v1", 80).load_balancer is None
    other = traffic.policy(db, rule_key, "v1", 81).load_balancer
    assert other is not None
    assert other.simple is SimpleLB.RANDOM


def test_rules_are_found_in_a_mesh_of_another_domain() -> None:
    key = ServiceKey("default", "reviews.default.svc.example")
    db = mesh(rule("short", "default", "reviews"), rule("full", "default", key.hostname))
    db.apply([Change(MeshConfig, ONLY, MeshConfig(domain="example"))])
    assert traffic.rule_for(db, key, "client") == ObjectKey("default", "full")
    assert len(traffic.parts(db, ObjectKey("default", "full"))) == 2
    assert traffic.rule_for(db, REVIEWS, "client") is None


def test_what_is_private_unless_said_is_seen_by_its_own_namespace() -> None:
    db = mesh(
        rule("r", "default", "reviews"),
        "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v}, spec: {hosts: [reviews]}}",
    )
    private = MeshConfig(default_destination_rule_export_to=["."], default_virtual_service_export_to=["."])
    db.apply([Change(MeshConfig, ONLY, private)])
    own, other = (horizons.horizon(db, it).namespace for it in ("default", "other"))
    assert traffic.rule_for(db, REVIEWS, own) == ObjectKey("default", "r")
    assert routing.rule_for_host(db, own, REVIEWS.hostname) == ObjectKey("default", "v")
    assert traffic.rule_for(db, REVIEWS, other) is None
    assert routing.rule_for_host(db, other, REVIEWS.hostname) is None


@pytest.mark.finding("architecture 8")
def test_the_audience_of_a_rule_counts_before_its_age() -> None:
    def offered(name: str, namespace: str, export_to: str) -> str:
        made = virtual(name, REVIEWS.hostname, namespace=namespace)
        return made.replace("spec: {", f"spec: {{exportTo: [{export_to}], ")

    rules = [offered("a", "x", '"*"'), offered("b", "x", "default"), offered("c", "default", '"."')]
    for order in (rules, rules[::-1]):
        db = mesh(*order)
        assert routing.rule_for_host(db, "default", REVIEWS.hostname) == ObjectKey("default", "c")
        assert routing.rule_for_host(db, "other", REVIEWS.hostname) == ObjectKey("x", "a")
    assert routing.rule_for_host(mesh(*rules[:2]), "default", REVIEWS.hostname) == ObjectKey("x", "b")
    # Its own are not younger or older than those for all others: the more specific host still wins.
    wide = offered("d", "default", '"."').replace(REVIEWS.hostname, '"*.cluster.local"')
    assert routing.rule_for_host(mesh(rules[0], wide), "default", REVIEWS.hostname) == ObjectKey("x", "a")


@pytest.mark.finding("architecture 8")
def test_destination_rules_follow_the_same_order() -> None:
    """By namespace, so that a private one never meets a public one of another."""

    def offered(name: str, namespace: str, export_to: str) -> str:
        made = rule(name, namespace, REVIEWS.hostname).replace(
            "spec: {", f"spec: {{exportTo: [{export_to}], "
        )
        return made.replace(f"name: {name}", f'name: {name}, creationTimestamp: "{name}"')

    db = mesh(offered("a", "default", '"*"'), offered("b", "client", '"."'), offered("c", "x", "client"))
    assert traffic.rule_for(db, REVIEWS, "client") == ObjectKey("client", "b")
    assert traffic.rule_for(db, REVIEWS, "other") == ObjectKey("default", "a")


TWO_HOMES = [
    f"""
    apiVersion: networking.istio.io/v1
    kind: Gateway
    metadata: {{name: gw, namespace: {namespace}}}
    spec: {{selector: {{istio: gateway}}, servers: [{{port: {{number: 80, name: a, protocol: HTTP}}, hosts: ["*"]}}]}}
    """
    for namespace in ("istio-system", "gamma")
]


def test_gateways_may_be_kept_to_the_namespace_of_their_workloads() -> None:
    db = mesh(*TWO_HOMES)
    marks = labels.of({"istio": "gateway"})

    def homes() -> list[str]:
        return [it.gateway.namespace for it in gateways.servers(db, "istio-system", marks)]

    assert homes() == ["gamma", "istio-system"]
    db.apply([Change(Switches, ONLY, Switches(scope_gateways_to_namespace=True))])
    assert homes() == ["istio-system"]
