"""What is wrong between objects is told, and nothing else is."""

from __future__ import annotations

import pytest

from lateen.api.networking import VirtualService
from lateen.policy.problems import problems
from lateen.testing.mesh import changed, mesh, pod_object, removed, router
from lateen.testing.rules import rule, virtual_service

ROOT = virtual_service("""
    http:
    - match: [{uri: {prefix: /a}}]
      delegate: {name: rest}
    - match: [{uri: {prefix: /b}}]
      delegate: {name: rest, namespace: team}
    - directResponse: {status: 200}
""", name="root")  # fmt: skip


def namespace(name: str) -> str:
    return f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"


def rest(namespace: str, more: str = "") -> str:
    return rule(
        "VirtualService",
        f"http: [{{directResponse: {{status: 201}}}}]\n{more}",
        name="rest",
        namespace=namespace,
    )


@pytest.mark.finding("mesh M1")
def test_a_delegate_that_cannot_be_used_is_told() -> None:
    db = mesh(ROOT)
    missing = [
        ("spec.http[0].delegate", "VirtualService default/rest does not exist: this rule is left out"),
        ("spec.http[1].delegate", "VirtualService team/rest does not exist: this rule is left out"),
    ]
    assert [(it.path, it.message) for it in problems(db)] == missing
    db.apply(changed(rest("default"), rest("team", "exportTo: [other]")))
    [hidden] = problems(db)
    assert (hidden.namespace, hidden.name, hidden.path) == ("default", "root", "spec.http[1].delegate")
    assert "team/rest is not exported to default" in hidden.message
    db.apply(changed(rest("team", "hosts: [x]")))
    [named] = problems(db)
    assert "has hosts of its own" in named.message
    db.apply(changed(rest("team")))
    assert problems(db) == ()
    db.apply([removed(VirtualService, "rest")])
    assert [(it.path, it.message) for it in problems(db)] == missing[:1]


@pytest.mark.finding("newcomer D.2.5")
@pytest.mark.parametrize("value", ["enable", '"true"', '""', "Enabled"])
def test_a_label_that_asks_for_sidecars_in_other_words_is_told(value: str) -> None:
    named = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: %s}}}"
    [found] = problems(mesh(named % value))
    assert (found.kind, found.name, found.path) == ("Namespace", "shop", "metadata.labels[istio-injection]")
    assert 'write "enabled" or "disabled"' in found.message
    for right in ("enabled", "disabled"):
        assert problems(mesh(named % right)) == ()


@pytest.mark.finding("architecture 14")
def test_a_server_on_a_port_of_the_proxy_is_told() -> None:
    servers = "{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*']}, {port: {number: 15021, name: b, protocol: HTTP}, hosts: ['*']}"
    db = mesh(
        rule("Gateway", f"selector: {{istio: gateway}}\nservers: [{servers}]", name="gw"),
        namespace("istio-system"),
    )
    db.apply(
        changed(pod_object("gateway-1", "istio-system", {"istio": "gateway"}, "gateway", "10.0.0.9", {}))
    )
    assert problems(db) == ()
    db.apply(
        [
            router("gateway-1", "10.0.0.9", {"istio": "gateway"}),
            router("gateway-2", "10.0.0.8", {"istio": "gateway"}),
        ]
    )
    [found] = problems(db)
    assert str(found).startswith(
        "Gateway default/gw: spec.servers[1].port: arrives at port 15021 of the pods"
    )
