"""What can be asked? Both forms of discovery: the aggregated one of kubectl, and the older one of Python clients."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

from skiff.kinds import COMPUTED, REVIEWS, Kind

VERSION = {
    "major": "1", "minor": "37", "gitVersion": "v1.37.0+skiff", "gitCommit": "", "gitTreeState": "clean", "buildDate": "",
    "goVersion": "python", "compiler": "cpython", "platform": "linux/amd64",
}  # fmt: skip

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
#: Subresources that are other kinds: (kind, group, version, verbs).
_SUB = {
    "scale": ("Scale", "autoscaling", "v1", ["get", "patch", "update"]),
    "eviction": ("Eviction", "policy", "v1", ["create"]),
    "binding": ("Binding", "", "v1", ["create"]),
    "token": ("TokenRequest", "authentication.k8s.io", "v1", ["create"]),
    "log": ("Pod", "", "v1", ["get"]),
    "exec": ("PodExecOptions", "", "v1", ["create", "get"]),
    "attach": ("PodAttachOptions", "", "v1", ["create", "get"]),
    "portforward": ("PodPortForwardOptions", "", "v1", ["create", "get"]),
}
#: Each kind has options of its own for it.
_PROXY = {"pods": "PodProxyOptions", "services": "ServiceProxyOptions", "nodes": "NodeProxyOptions"}
_PROXY_VERBS = ["create", "delete", "get", "patch", "update"]
_USUAL = ["get", "patch", "update"]


def _verbs(it: Kind) -> list[str]:
    return ["create"] if it in REVIEWS else list(it.verbs) or VERBS


def _sub(it: Kind, name: str) -> tuple[str, str, str, list[str]]:
    """(kind, group, version, verbs) of a subresource; no group and version when they are those of its kind."""
    if name == "proxy":
        return _PROXY[it.plural], "", "v1", _PROXY_VERBS
    return _SUB.get(name, (it.kind, "", "", _USUAL))


def _storage_hash(it: Kind) -> str:
    """As the real server makes it of the version in which a kind is stored: clients see that it changed."""
    digest = hashlib.sha256(f"{it.group}/{it.version}/{it.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def aggregated(kinds: Iterable[Kind], *, core: bool) -> dict[str, Any]:
    """APIGroupDiscoveryList of ``/api`` (core) or ``/apis``."""
    groups: dict[str, dict[str, list[Kind]]] = {}
    for it in kinds:
        if (it.group == "") is core:
            groups.setdefault(it.group, {}).setdefault(it.version, []).append(it)
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None},
            "versions": [
                {"version": version, "freshness": "Current", "resources": [_resource(it) for it in found]}
                for version, found in sorted(versions.items(), key=lambda it: preference(it[0]))
            ],
        }
        for group, versions in sorted(groups.items())
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _resource(it: Kind) -> dict[str, Any]:
    own = {"group": it.group, "version": it.version, "kind": it.kind}
    found: dict[str, Any] = {
        "resource": it.plural, "responseKind": own, "scope": "Namespaced" if it.namespaced else "Cluster",
        "singularResource": it.singular or it.kind.lower(), "verbs": _verbs(it),
    }  # fmt: skip
    if it.short:
        found["shortNames"] = list(it.short)
    if it.categories:
        found["categories"] = list(it.categories)
    subs = []
    for name in sorted(it.subresources):
        kind, group, version, verbs = _sub(it, name)
        response = {"group": group, "version": version, "kind": kind} if version else {**own, "kind": kind}
        subs.append({"subresource": name, "responseKind": response, "verbs": verbs})
    return {**found, "subresources": subs} if subs else found


def preference(version: str) -> tuple[int, str]:
    """Kubernetes' order of versions, the preferred one first: v2, v1, v1beta2, v1beta1, v1alpha1."""
    stage = 2 if "alpha" in version else 1 if "beta" in version else 0
    return (stage, "".join(chr(255 - ord(letter)) for letter in version))


def group_list(kinds: Iterable[Kind]) -> dict[str, Any]:
    """APIGroupList of ``/apis`` in the older form."""
    groups: dict[str, set[str]] = {}
    for it in kinds:
        if it.group:
            groups.setdefault(it.group, set()).add(it.version)
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [group(name, groups[name]) for name in sorted(groups)],
    }


def group(name: str, versions: Iterable[str]) -> dict[str, Any]:
    """One APIGroup."""
    listed = [{"groupVersion": f"{name}/{it}", "version": it} for it in sorted(versions, key=preference)]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": listed,
        "preferredVersion": listed[0],
    }


def resource_list(group_version: str, kinds: Iterable[Kind]) -> dict[str, Any]:
    """APIResourceList of one group and version."""
    resources: list[dict[str, Any]] = []
    for it in kinds:
        own: dict[str, Any] = {
            "name": it.plural, "singularName": it.singular or it.kind.lower(), "namespaced": it.namespaced, "kind": it.kind,
            "verbs": _verbs(it),
        }  # fmt: skip
        if it.short:
            own["shortNames"] = list(it.short)
        if it.categories:
            own["categories"] = list(it.categories)
        if it not in REVIEWS | COMPUTED:
            own["storageVersionHash"] = _storage_hash(it)
        resources.append(own)
        for name in sorted(it.subresources):
            kind, group_, version, verbs = _sub(it, name)
            sub = {
                "name": f"{it.plural}/{name}",
                "singularName": "",
                "namespaced": it.namespaced,
                "kind": kind,
                "verbs": verbs,
            }
            resources.append({**sub, "group": group_, "version": version} if version else sub)
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }
