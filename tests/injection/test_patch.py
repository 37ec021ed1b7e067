"""The patch that the API server gets makes the pod that injection made, in few words."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lateen.injection.annotations import InjectionError
from lateen.injection.inject import inject
from lateen.injection.patch import diff
from lateen.injection.settings import InjectionSettings
from skiff.patch.json_patch import json_patch

WORDS = st.sampled_from(["a", "b", "name", "/", "~", "~1", "", "app", "istio-proxy", "x/y~z"])
SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([1.0, 0.5]) | WORDS
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    """As JSON sees it: true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@given(DOCUMENTS, DOCUMENTS)
@settings(max_examples=300, deadline=None)
def test_applied_to_the_one_it_gives_the_other(before: Any, after: Any) -> None:
    kept = copy.deepcopy(before)
    assert same(json_patch(before, diff(before, after)), after)
    assert same(before, kept)
    assert diff(before, before) == []


NAMES = st.sampled_from(["app", "web", "db", "istio-proxy", "istio-init"])
PORTS = st.lists(
    st.fixed_dictionaries(
        {"containerPort": st.integers(1, 9)}, optional={"name": st.sampled_from(["p", "q"])}
    ),
    max_size=2,
)
HOW = st.sampled_from([
    {"httpGet": {"path": "/", "port": "p"}}, {"httpGet": {"port": 80}}, {"tcpSocket": {"port": 3}}, {"grpc": {"port": 4}},
    {"exec": {"command": ["x"]}},
])  # fmt: skip
CONTAINERS = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "image": st.just("i"), "ports": PORTS, "readinessProbe": HOW, "livenessProbe": HOW, "startupProbe": HOW,
        "lifecycle": st.fixed_dictionaries({}, optional={"preStop": HOW, "postStart": HOW}),
        "env": st.lists(st.fixed_dictionaries({"name": NAMES, "value": NAMES}), max_size=2),
    },
)  # fmt: skip
ANNOTATIONS = st.dictionaries(
    st.sampled_from([
        "prometheus.io/scrape", "sidecar.istio.io/nativeSidecar", "sidecar.istio.io/rewriteAppHTTPProbers",
        "inject.istio.io/templates", "proxy.istio.io/config", "status.sidecar.istio.io/port", "sidecar.istio.io/userVolume",
    ]),
    st.sampled_from(["true", "false", "gateway", "holdApplicationUntilProxyStarts: true", "0", "{}", "15020"]),
    max_size=3,
)  # fmt: skip
UNIQUE: Any = {"unique_by": lambda it: it["name"]}
PODS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({}, optional={
            "name": NAMES, "labels": st.none() | st.dictionaries(NAMES, NAMES, max_size=2), "annotations": ANNOTATIONS}),
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(CONTAINERS, min_size=1, max_size=3, **UNIQUE)},
            optional={
                "initContainers": st.none() | st.lists(CONTAINERS, max_size=3, **UNIQUE),
                "volumes": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["v", "istio-data"])}), max_size=2, **UNIQUE),
                "imagePullSecrets": st.lists(st.fixed_dictionaries({"name": NAMES}), max_size=2, **UNIQUE)}),
    }
)  # fmt: skip


@given(PODS, st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_api_server_makes_the_pod_that_injection_made(pod: dict[str, Any], native: bool) -> None:
    pod = json.loads(json.dumps(pod))  # JSON shares no parts, the examples may
    chosen = InjectionSettings(native_sidecars=native, pull_secrets=("app", "regcred"))
    kept = copy.deepcopy(pod)
    try:
        made = inject(pod, chosen, namespace="shop")
    except InjectionError:
        return
    assert same(pod, kept)
    assert same(json_patch(pod, diff(pod, made)), made)
    assert same(inject(made, chosen, namespace="shop"), made)
    containers = [*made["spec"]["containers"], *(made["spec"].get("initContainers") or ())]
    proxies = [it for it in containers if it["name"] == "istio-proxy"]
    assert len(proxies) == 1


def test_an_ordinary_pod_gets_a_few_additions() -> None:
    pod = {
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "w"}, {"name": "log", "image": "l"}],
                 "initContainers": [{"name": "wait"}], "volumes": [{"name": "v", "emptyDir": {}}]},
    }  # fmt: skip
    found = diff(pod, inject(pod, InjectionSettings(), namespace="shop"))
    assert {it["op"] for it in found} == {"add"}
    assert [it["path"] for it in found if it["path"].startswith("/spec/init")] == [
        "/spec/initContainers/0",
        "/spec/initContainers/1",
    ]
    assert not any(it["path"].startswith("/spec/containers") for it in found)
