"""Route configurations of sidecars: who shares what, and what a change makes anew."""

from __future__ import annotations

from typing import Any

from lateen.compile.view import view
from lateen.envoy.resource import ROUTE
from lateen.envoy.sealing import describe
from lateen.incremental import Database
from lateen.names.keys import ProxyKey
from lateen.testing.mesh import changed, mesh, pod, service, sidecar

NAMESPACES = ("a", "b", "c")


def rule(namespace: str, match: str = "") -> str:
    return f"""
kind: VirtualService
apiVersion: networking.istio.io/v1
metadata: {{name: x, namespace: {namespace}}}
spec: {{hosts: [x], http: [{{match: [{match}], route: [{{destination: {{host: x}}}}]}}]}}
"""


def world(*more: str) -> tuple[Database, list[ProxyKey]]:
    """A service ``x`` and two pods in each of three namespaces."""
    db = mesh(*(service("x", {"http": 80}, f"10.96.0.{at}", namespace=it) for at, it in enumerate(NAMESPACES)),
              *(pod(f"{app}-1", f"10.0.{at}.{len(app)}", app, namespace=it)
                for at, it in enumerate(NAMESPACES) for app in ("x", "web")), *more)  # fmt: skip
    proxies = [sidecar(f"{app}-1", f"10.0.{at}.{len(app)}", namespace=it, app=app)
               for at, it in enumerate(NAMESPACES) for app in ("x", "web")]  # fmt: skip
    db.apply(proxies)
    return db, [it.key for it in proxies]


def hosts(db: Database, proxy: ProxyKey) -> dict[str, dict[str, Any]]:
    shown = describe(ROUTE, view(db, proxy)[ROUTE]["80"].body)
    return {it["name"]: it for it in shown["virtual_hosts"]}


def ran(db: Database) -> dict[str, int]:
    names = [it.query.name for it in db.executed]
    return {it: names.count(it) for it in ("_routes", "_virtual_host", "_block", "configuration")}


def test_short_names_are_for_callers_of_the_same_namespace() -> None:
    db, (in_a, *_) = world()
    found = hosts(db, in_a)
    own, other = (found[f"x.{it}.svc.cluster.local:80"]["domains"] for it in ("a", "b"))
    assert own == ["x.a.svc.cluster.local", "x.a.svc", "x.a", "x", "10.96.0.0"]
    assert other == ["x.b.svc.cluster.local", "x.b.svc", "x.b", "10.96.0.1"]


def test_an_address_that_two_services_claim_belongs_to_the_first() -> None:
    db, (in_a, *_) = world(service("y", {"http": 80}, "10.96.0.0", namespace="a"))
    assert hosts(db, in_a)["y.a.svc.cluster.local:80"]["domains"][-1] == "y"


def test_one_rule_makes_one_virtual_host_anew() -> None:
    db, proxies = world(rule("b"))
    watches = [db.watch(view, it) for it in proxies]
    for it in watches:
        assert it.value
    assert set(db.apply(changed(rule("b", "{uri: {prefix: /new}}")))) == set(watches)
    for it in watches:
        assert it.value
    # Its routes once; its virtual host, and that of its namespace, with and without short names.
    assert ran(db) == {"_routes": 1, "_virtual_host": 2, "_block": 2, "configuration": 3}


def test_a_rule_about_callers_splits_nothing_but_its_own_namespace() -> None:
    db, proxies = world(rule("b", "{sourceLabels: {app: web}}"))
    found = [hosts(db, it)["x.b.svc.cluster.local:80"].get("routes", []) for it in proxies]
    assert [it[0]["route"]["cluster"] for it in found] == ["outbound|80||x.b.svc.cluster.local"] * 6
    assert ["metadata" in it[0] for it in found] == [
        False,
        True,
    ] * 3  # a rule of which nothing applies is none
    # Routes of a and c once, of b for callers with and without the label.
    assert ran(db) == {"_routes": 4, "_virtual_host": 8, "_block": 8, "configuration": 6}


def test_a_rule_may_ask_for_the_namespace_of_callers() -> None:
    db, proxies = world(rule("b", "{sourceNamespace: c}"))
    found = [hosts(db, it)["x.b.svc.cluster.local:80"]["routes"] for it in proxies]
    assert ["metadata" in it[0] for it in found] == [False, False, False, False, True, True]
