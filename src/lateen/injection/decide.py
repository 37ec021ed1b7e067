"""Does this pod get a sidecar? Istio's rules, with the reason in words.

https://istio.io/latest/docs/ops/configuration/mesh/injection-concepts/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lateen.injection.settings import InjectionSettings

INJECT, REVISION, NAMESPACE = "sidecar.istio.io/inject", "istio.io/rev", "istio-injection"
STATUS = "sidecar.istio.io/status"
_NEVER = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})


class Decision(NamedTuple):
    """Whether, and why."""

    inject: bool
    reason: str


def decide(
    pod: Mapping[str, Any], namespace: str, namespace_labels: Mapping[str, str], settings: InjectionSettings
) -> Decision:
    """The pod's own word (label before annotation) wins over its namespace's."""
    metadata = pod.get("metadata") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if (pod.get("spec") or {}).get("hostNetwork"):
        return Decision(False, "the pod uses the network of its host")
    if namespace in _NEVER:
        return Decision(False, f"nothing is injected in namespace {namespace}")
    if STATUS in annotations:
        return Decision(False, "the pod has a sidecar already")
    said = str(labels.get(INJECT, annotations.get(INJECT, ""))).lower()
    if said == "false":
        return Decision(False, f"the pod says {INJECT}: false")
    whole = namespace_labels.get(NAMESPACE)
    if whole == "disabled":
        return Decision(False, f"namespace {namespace} says {NAMESPACE}: disabled")
    if whole == "enabled":
        return Decision(True, f"namespace {namespace} says {NAMESPACE}: enabled")
    wanted = labels.get(REVISION) or namespace_labels.get(REVISION)
    if wanted:
        fits = wanted == settings.revision
        return Decision(fits, f"{REVISION}: {wanted} is {'this' if fits else 'another'} control plane's")
    if said == "true":
        return Decision(True, f"the pod says {INJECT}: true")
    if settings.inject_by_default:
        return Decision(True, "injection is on for all namespaces")
    return Decision(False, f"neither namespace {namespace} nor the pod asks for it: kubectl label namespace {namespace} "
                           f"{NAMESPACE}=enabled")  # fmt: skip
