"""What is told as an error is what proxies have: a route to a cluster that is not there. What leads nowhere is told."""

from __future__ import annotations

import re
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lateen.compile.view import view
from lateen.envoy.resource import CLUSTER, ROUTE
from lateen.names.keys import ProxyKey
from lateen.names.problems import Severity
from lateen.policy.problems import problems
from lateen.testing.mesh import changed, mesh, service, sidecar
from lateen.testing.rules import KINDS

CALLERS = [sidecar("caller", f"10.0.{at}.1", namespace=it) for at, it in enumerate(("a", "b"))]
SERVICES = {
    ("x", "a"): {"http": 80, "grpc": 70},
    ("y", "a"): {"http": 8000},
    ("x", "b"): {"http": 81, "grpc": 82},
    ("y", "b"): {"http": 80, "tcp": 90},
}
_EXPORTS: list[list[str]] = [[], ["*"], ["."], ["b"], ["a", "b"], ["~"]]

_choose = st.sampled_from
_destinations = st.fixed_dictionaries(
    {"host": _choose(["x", "y", "x.b.svc.cluster.local", "y.b.svc.cluster.local", "y.b", "nowhere", "other.example"])},
    optional={"subset": _choose(["v1", "v2"]), "port": st.builds(lambda it: {"number": it}, _choose([70, 80, 91, 8000]))},
)  # fmt: skip
_routes = st.lists(
    st.builds(lambda it: {"destination": it, "weight": 50}, _destinations), min_size=1, max_size=2
)
_rules = st.tuples(
    _choose(["a", "b", "istio-system"]), _choose(["x", "x.a.svc.cluster.local", "y.b.svc.cluster.local", "*.local"]),
    st.lists(_choose(["v1", "v2"]), unique=True), _choose(_EXPORTS),
)  # fmt: skip


def written(kind: str, name: str, namespace: str, spec: dict[str, Any]) -> str:
    head = {"apiVersion": KINDS[kind], "kind": kind, "metadata": {"name": name, "namespace": namespace}}
    return yaml.safe_dump({**head, "spec": spec})


@settings(deadline=None, max_examples=150)
@given(
    _routes,
    st.lists(_rules, max_size=3),
    _choose(_EXPORTS),
    st.lists(_choose(["", ".", "*", "b"]), min_size=4, max_size=4),
)
def test_an_error_is_told_where_a_route_leads_nowhere_and_nowhere_else(
    route: list[dict[str, Any]],
    rules: list[tuple[str, str, list[str], list[str]]],
    export_to: list[str],
    exports: list[str],
) -> None:
    db = mesh(
        written(
            "VirtualService", "rule", "a", {"hosts": ["x"], "http": [{"route": route}], "exportTo": export_to}
        )
    )
    for at, ((name, namespace), ports) in enumerate(SERVICES.items()):
        text = service(name, ports, f"10.96.0.{at}", namespace=namespace)
        note = f"metadata:\n  annotations: {{networking.istio.io/exportTo: '{exports[at]}'}}"
        db.apply(changed(text.replace("metadata:", note) if exports[at] else text))
    for at, (namespace, host, subsets, to) in enumerate(rules):
        named = [{"name": it, "labels": {"version": it}} for it in subsets]
        db.apply(
            changed(
                written(
                    "DestinationRule", f"d{at}", namespace, {"host": host, "subsets": named, "exportTo": to}
                )
            )
        )
    db.apply(CALLERS)
    lost = [dangling(db, it.key) for it in CALLERS if isinstance(it.key, ProxyKey)]
    told = [it for it in problems(db) if it.kind == "VirtualService"]
    if set.intersection(*lost):
        assert told, "no caller gets there, and nobody says so"
    followed = export_to != ["~"] and exports[0] in ("", "*")  # and nobody calls a host that he does not see
    if followed and not any(lost):
        assert [it for it in told if it.severity is Severity.ERROR] == [], "everybody gets there"


def dangling(db: Any, key: ProxyKey) -> set[str]:
    """The clusters that a proxy's routes name and that it does not have."""
    found = view(db, key)
    named = {
        name.decode() for it in found[ROUTE].values()
        for name in re.findall(rb"outbound\|\d+\|[a-z0-9]*\|[a-z.-]*[a-z]", it.body)
    }  # fmt: skip
    return named - set(found[CLUSTER])
