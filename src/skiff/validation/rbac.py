"""What may roles and their bindings be? https://kubernetes.io/docs/reference/access-authn-authz/rbac/"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skiff.api import Object
from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.metadata import selector
from skiff.validation.problems import (
    each,
    entries,
    invalid,
    listed,
    part,
    required,
    text,
    unsupported,
)  # fmt: skip

_GROUP = "rbac.authorization.k8s.io"


def role(obj: Object, _old: Object | None) -> Iterator[Problem]:
    for where, it in entries(obj, "rules", ""):
        yield from _rule(it, where, namespaced=True)


def cluster_role(obj: Object, _old: Object | None) -> Iterator[Problem]:
    for where, it in entries(obj, "rules", ""):
        yield from _rule(it, where, namespaced=False)
    sum_of = part(obj, "aggregationRule")
    if obj.get("aggregationRule") is not None and not listed(sum_of, "clusterRoleSelectors"):
        yield required(
            "aggregationRule.clusterRoleSelectors",
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        )
    for where, it in entries(sum_of, "clusterRoleSelectors", "aggregationRule"):
        yield from selector(it, where)


def _rule(it: dict[str, Any], path: str, *, namespaced: bool) -> Iterator[Problem]:
    groups, resources, places = (
        listed(it, "apiGroups"),
        listed(it, "resources"),
        listed(it, "nonResourceURLs"),
    )
    if not listed(it, "verbs"):
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    if places:
        if namespaced:
            said = "namespaced rules cannot apply to non-resource URLs"
            yield invalid(f"{path}.nonResourceURLs", places, said)
        if groups or resources or listed(it, "resourceNames"):
            said = "rules cannot apply to both regular resources and non-resource URLs"
            yield invalid(f"{path}.nonResourceURLs", places, said)
        return
    if not groups:
        yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not resources:
        yield required(f"{path}.resources", "resource rules must supply at least one resource")


def role_binding(obj: Object, old: Object | None) -> Iterator[Problem]:
    yield from _binding(obj, old, ("ClusterRole", "Role"), namespaced=True)


def cluster_role_binding(obj: Object, old: Object | None) -> Iterator[Problem]:
    yield from _binding(obj, old, ("ClusterRole",), namespaced=False)


def _binding(
    obj: Object, old: Object | None, kinds: tuple[str, ...], *, namespaced: bool
) -> Iterator[Problem]:
    ref = part(obj, "roleRef")
    if text(ref, "apiGroup") != _GROUP:
        yield unsupported("roleRef.apiGroup", text(ref, "apiGroup"), (_GROUP,))
    if text(ref, "kind") not in kinds:
        yield unsupported("roleRef.kind", text(ref, "kind"), kinds)
    if not text(ref, "name"):
        yield required("roleRef.name")
    else:
        yield from each("roleRef.name", ref["name"], names.segment(ref["name"]))
    for where, it in entries(obj, "subjects", ""):
        yield from _subject(it, where, namespaced=namespaced)
    if old is not None and ref != part(old, "roleRef"):
        yield invalid("roleRef", ref, "cannot change roleRef")


def _subject(it: dict[str, Any], path: str, *, namespaced: bool) -> Iterator[Problem]:
    kind, group = text(it, "kind"), text(it, "apiGroup")
    if not text(it, "name"):
        yield required(f"{path}.name")
    if kind == "ServiceAccount":
        if text(it, "name"):
            yield from each(f"{path}.name", it["name"], names.subdomain(it["name"]))
        if group:
            yield unsupported(f"{path}.apiGroup", group, ("",))
        if not namespaced and not text(it, "namespace"):
            yield required(f"{path}.namespace")
    elif kind in ("User", "Group"):
        if group != _GROUP:
            yield unsupported(f"{path}.apiGroup", group, (_GROUP,))
    else:
        yield unsupported(f"{path}.kind", kind, ("Group", "ServiceAccount", "User"))
