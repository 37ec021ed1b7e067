"""Does this pod get a sidecar? Istio's rules, with the reason in words.

The API server asks only about pods which the selectors of our webhooks choose (``lateen.install.webhooks``): they know
the labels of namespaces, revisions and their tags. What is left is decided here, from the pod alone.
https://istio.io/latest/docs/ops/configuration/mesh/injection-concepts/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lateen.injection.settings import InjectionSettings

INJECT, REVISION = "sidecar.istio.io/inject", "istio.io/rev"
STATUS = "sidecar.istio.io/status"
PROXY = "istio-proxy"
#: Kubernetes' own namespaces: nothing of the mesh runs there (Istio's list).
SPARED = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")


class Decision(NamedTuple):
    """Whether, and why."""

    inject: bool
    reason: str


def decide(pod: Mapping[str, Any], namespace: str, settings: InjectionSettings) -> Decision:
    """The pod's label wins over its annotation, both over selectors of the mesh, and these over the mesh's policy."""
    metadata = _part(pod, "metadata")
    labels = _part(metadata, "labels")
    if _part(pod, "spec").get("hostNetwork"):
        return Decision(False, "the pod uses the network of its host")
    if namespace in SPARED:
        return Decision(False, f"nothing is injected in namespace {namespace}")
    if injected(pod):
        return Decision(False, "the pod has a sidecar already")
    said = str(labels.get(INJECT, _part(metadata, "annotations").get(INJECT, "")))
    if said in ("true", "false"):
        return Decision(said == "true", f"the pod says {INJECT}: {said}")
    if any(selects(it, labels) for it in settings.never_selectors):
        return Decision(False, "the pod's labels match a neverInjectSelector of the mesh")
    if any(selects(it, labels) for it in settings.always_selectors):
        return Decision(True, "the pod's labels match an alwaysInjectSelector of the mesh")
    if settings.inject_unasked:
        return Decision(True, "the mesh injects pods that do not say no")
    return Decision(False, f"the mesh injects only pods with the label {INJECT}: true")


def injected(pod: Mapping[str, Any]) -> bool:
    """Whether a proxy was put into it: the mark alone may have been copied from another pod."""
    lists = [_part(pod, "spec").get(name) for name in ("containers", "initContainers")]
    names = [
        it.get("name")
        for found in lists
        if isinstance(found, list)
        for it in found
        if isinstance(it, Mapping)
    ]
    return STATUS in _part(_part(pod, "metadata"), "annotations") and PROXY in names


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A label selector of Kubernetes. An empty one selects nothing here: no mesh means "never" or "always" by it."""
    pairs, expressions = _part(selector, "matchLabels"), selector.get("matchExpressions") or []
    if not pairs and not expressions:
        return False
    return all(labels.get(key) == value for key, value in pairs.items()) and expressed(expressions, labels)


def expressed(expressions: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> bool:
    """Whether all ``matchExpressions`` hold; one with an unknown operator does not."""
    return all(_holds(it, labels) for it in expressions)


def _holds(it: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = str(it.get("key", "")), it.get("values") or ()
    match it.get("operator"):
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def _part(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tree.get(name)
    return found if isinstance(found, Mapping) else {}
