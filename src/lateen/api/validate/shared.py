"""What is checked in more than one kind? Selectors, targets, visibility, gateways by name, TLS, pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lateen.api.meta import LabelSelector, PolicyTarget, WorkloadSelector
from lateen.api.validate import texts
from lateen.api.validate.finding import Finding, Findings, check, entry, warning

#: (group, kind) that policies may be attached to.
_TARGETS = (
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
)
UNIX = "unix://"


def selector(it: WorkloadSelector | None, at: str) -> Findings:
    """``selector.matchLabels``."""
    if it is not None:
        yield from _match(it.match_labels, at, f"{at}.matchLabels")


def label_selector(it: LabelSelector | None, at: str) -> Findings:
    """``workloadSelector.labels``."""
    if it is not None:
        yield from _match(it.labels, at, f"{at}.labels")


def _match(labels: Mapping[str, str], at: str, place: str) -> Findings:
    if not labels:
        yield warning(at, "a selector without labels applies to all workloads of the namespace")
    for key, value in labels.items():
        if not key:
            yield Finding(place, "key must not be empty")
        elif "*" in key:
            yield Finding(
                entry(place, key), "wildcard is not supported in selector: write the label's key in full"
            )
        if "*" in value:
            yield Finding(
                entry(place, key), "wildcard is not supported in selector: write the label's value in full"
            )


def attachment(
    chosen: WorkloadSelector | None, reference: PolicyTarget | None, references: Sequence[PolicyTarget]
) -> Findings:
    """A policy is for selected workloads or for named targets."""
    if (chosen is not None) + (reference is not None) + bool(references) > 1:
        yield Finding("spec", "only one of targetRefs or selector can be set")
    yield from selector(chosen, "spec.selector")
    if reference is not None:
        yield from _target(reference, "spec.targetRef")
    for index, it in enumerate(references):
        yield from _target(it, f"spec.targetRefs[{index}]")


def targets(references: Sequence[PolicyTarget]) -> Findings:
    """``spec.targetRefs`` alone."""
    for index, it in enumerate(references):
        yield from _target(it, f"spec.targetRefs[{index}]")


def _target(it: PolicyTarget, at: str) -> Findings:
    if it.namespace:
        yield Finding(
            f"{at}.namespace",
            "cross namespace referencing is not currently supported: leave the namespace out",
        )
    if ("" if it.group == "core" else it.group, it.kind) not in _TARGETS:
        known = ", ".join(f"{group or 'core'}/{kind}" for group, kind in _TARGETS)
        yield Finding(at, f"{it.group or 'core'}/{it.kind} cannot be a target: use one of {known}")


def export_to(
    values: Sequence[str], namespace: str, *, may_hide: bool = False, own_only: bool = False
) -> Findings:
    """``exportTo``: ``*``, or ``.`` and names of namespaces; ``~`` (nobody) for a ServiceEntry."""
    seen: set[str] = set()
    for index, value in enumerate(values):
        at, meant = f"spec.exportTo[{index}]", namespace if value == "." else value
        if meant in seen:
            yield Finding(at, f'"{value}" is said twice')
        seen.add(meant)
        if value not in ("*", ".") and not (value == "~" and may_hide):
            yield from check(
                at, texts.dns_label(value) and f'"{value}" is not a namespace: use a name, "." or "*"'
            )
    if len(values) > 1 and seen & {"*", "~"}:
        yield Finding("spec.exportTo", '"*" (all) and "~" (nobody) stand alone')
    if own_only and values and seen != {namespace}:
        yield Finding(
            "spec.exportTo",
            'with a workloadSelector only "." is allowed: the rule holds in its own namespace',
        )


def gateway_names(names: Sequence[str], at: str) -> Findings:
    """``namespace/name``, a name, ``mesh``, or the old ``name.namespace.svc.cluster.local``."""
    for index, name in enumerate(names):
        place = f"{at}[{index}]"
        namespace, slash, own = name.partition("/")
        if slash:
            yield from check(place, texts.dns_label(namespace) or texts.dns_label(own))
            continue
        yield from check(place, texts.fqdn(name))
        if "." in name:
            first, second, *_ = name.split(".")
            yield warning(place, f"prefer the form namespace/name: {second}/{first}")


def host_part(name: str, *, addresses: bool) -> str:
    """What follows the slash of ``namespace/host``."""
    if name == "*" or (addresses and texts.is_address(name)):
        return ""
    if "." not in name:
        return f'"{name}" is a short name: write it in full, such as {name or "reviews"}.default.svc.cluster.local'
    return texts.wildcard_domain(name) or texts.partial_wildcard(name)
