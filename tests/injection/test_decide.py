"""Which pods get a sidecar: the API server's selectors and our decision together are Istio's table."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from lateen.injection.decide import INJECT, REVISION, STATUS, decide, selects
from lateen.injection.settings import InjectionSettings
from lateen.install import webhooks
from lateen.install.values import installation
from skiff.objects import matches

NAMESPACE = "istio-injection"
Labels = dict[str, str]


def pod(labels: Labels | None = None, annotations: Labels | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"labels": labels or {}, "annotations": annotations or {}},
        "spec": {"containers": [{"name": "app"}], **spec},
    }


def asked_by(namespace: Labels, labels: Labels, *, revision: str = "", everywhere: bool = False) -> list[str]:
    """The webhooks that the API server calls for a pod, by Kubernetes' reading of their selectors."""
    values = [f"revision={revision}"] if revision else []
    if everywhere:
        values.append("values.sidecarInjectorWebhook.enableNamespacesByDefault=true")
    (made,) = webhooks.mutating(installation("default", values), {}, "istiod")
    return [
        hook["name"]
        for hook in made["webhooks"]
        if matches(hook["namespaceSelector"], {"kubernetes.io/metadata.name": "shop", **namespace})
        and matches(hook["objectSelector"], labels)
    ]


def wanted(
    namespace: Labels, labels: Labels, annotation: str | None, revision: str, *, everywhere: bool
) -> bool:
    """Istio's table in words (https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/)."""
    said = labels.get(INJECT, annotation)
    if said == "false" or namespace.get(NAMESPACE) == "disabled":
        return False
    default = revision == "default"
    if NAMESPACE in namespace:  # the old label hides the new ones
        return default and namespace[NAMESPACE] == "enabled"
    if REVISION in namespace:
        return namespace[REVISION] == revision
    if REVISION in labels:
        return labels[REVISION] == revision
    if labels.get(INJECT) == "true":
        return default
    # Nobody asks for it. An annotation alone does not reach the webhook, except where all pods do.
    return default and everywhere and INJECT not in labels


NAMESPACES = [
    {**({NAMESPACE: old} if old else {}), **({REVISION: new} if new else {})}
    for old, new in itertools.product((None, "enabled", "disabled", "strange"), (None, "default", "canary"))
]
PODS = [
    {**({INJECT: said} if said else {}), **({REVISION: new} if new else {})}
    for said, new in itertools.product((None, "true", "false"), (None, "default", "canary"))
]


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("revision", ["default", "canary"])
def test_selectors_and_decision_agree_with_istios_table(revision: str, everywhere: bool) -> None:
    settings = InjectionSettings(revision=revision)
    for namespace, labels, annotation in itertools.product(NAMESPACES, PODS, (None, "true", "false")):
        hooks = asked_by(
            namespace, labels, revision="" if revision == "default" else revision, everywhere=everywhere
        )
        case = (namespace, labels, annotation, hooks)
        assert len(hooks) <= 1, f"a pod must not be injected twice: {case}"
        it = pod(labels, {INJECT: annotation} if annotation else {})
        found = bool(hooks) and decide(it, "shop", settings).inject
        assert found == wanted(namespace, labels, annotation, revision, everywhere=everywhere), case


def test_system_namespaces_are_spared_even_where_all_are_injected() -> None:
    for name in ("kube-system", "kube-public", "kube-node-lease", "local-path-storage"):
        assert not asked_by({"kubernetes.io/metadata.name": name}, {}, everywhere=True)
        assert not decide(pod({INJECT: "true"}), name, InjectionSettings()).inject


SETTINGS = InjectionSettings(
    never_selectors=[{"matchExpressions": [{"key": "batch", "operator": "Exists"}]}, {}],
    always_selectors=[{"matchLabels": {"app": "web"}}],
)


@pytest.mark.parametrize(
    ("it", "settings", "expected"),
    [
        (pod(hostNetwork=True, labels={INJECT: "true"}), SETTINGS, False),
        (pod({"app": "web"}), SETTINGS, True),
        (pod({"app": "web", "batch": "x"}), SETTINGS, False),
        (pod({"batch": "x", INJECT: "true"}), SETTINGS, True),
        (pod({"batch": "x"}, {INJECT: "true"}), SETTINGS, True),
        (pod({INJECT: "false"}, {INJECT: "true"}), SETTINGS, False),
        (pod({INJECT: "yes please"}), SETTINGS, True),
        (pod(), InjectionSettings(inject_unasked=False), False),
        (
            pod({"app": "web"}),
            InjectionSettings(inject_unasked=False, always_selectors=SETTINGS.always_selectors),
            True,
        ),
        (pod({INJECT: "true"}), InjectionSettings(inject_unasked=False), True),
        (pod(annotations={STATUS: "{}"}), SETTINGS, True),  # the mark alone, copied from elsewhere
        (pod(annotations={STATUS: "{}"}, initContainers=[{"name": "istio-proxy"}]), SETTINGS, False),
        ({"metadata": None, "spec": None}, SETTINGS, True),
        ({}, SETTINGS, True),
    ],
)
def test_the_pods_own_word_then_selectors_then_the_policy(
    it: dict[str, Any], settings: InjectionSettings, expected: bool
) -> None:
    found = decide(it, "shop", settings)
    assert found.inject is expected
    assert found.reason


def test_selectors_are_read_as_kubernetes_reads_them() -> None:
    keys, values = ("a", "b"), (None, "1", "2")
    expressions = [
        {"key": "a", "operator": operator, **({"values": ["1"]} if operator.endswith("In") else {})}
        for operator in ("In", "NotIn", "Exists", "DoesNotExist")
    ]
    for one, other in itertools.product(values, values):
        labels = {key: value for key, value in zip(keys, (one, other), strict=True) if value}
        for expression in expressions:
            for selector in (
                {"matchExpressions": [expression]},
                {"matchLabels": {"b": "1"}, "matchExpressions": [expression]},
            ):
                assert selects(selector, labels) == matches(selector, labels), (selector, labels)
