"""How do manifests look with their sidecars written out? For ``lateen kube-inject``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lateen.injection.annotations import InjectionError
from lateen.injection.decide import decide
from lateen.injection.inject import inject
from lateen.injection.owner import Owner
from lateen.injection.settings import InjectionSettings

Object = dict[str, Any]

#: Kind -> where its pod template lies.
_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Pod": (), "Deployment": ("spec", "template"), "StatefulSet": ("spec", "template"), "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"), "Job": ("spec", "template"), "ReplicationController": ("spec", "template"),
    "DeploymentConfig": ("spec", "template"), "CronJob": ("spec", "jobTemplate", "spec", "template"),
}  # fmt: skip


def inject_documents(documents: Iterable[Any], settings: InjectionSettings) -> Iterator[Any]:
    """Every document; those that make pods with the sidecar in them, unless they say no. InjectionError names which."""
    for it in documents:
        if not isinstance(it, dict):
            yield it
        elif isinstance(it.get("items"), list) and str(it.get("kind", "")).endswith("List"):
            yield {**it, "items": list(inject_documents(it["items"], settings))}
        elif it.get("kind") in _TEMPLATES:
            yield _document(it, settings)
        else:
            yield it


def _document(it: Object, settings: InjectionSettings) -> Object:
    kind, metadata = str(it["kind"]), it.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = str(metadata.get("name") or str(metadata.get("generateName") or "").rstrip("-"))
    owner = Owner(name, str(it.get("apiVersion") or "v1"), kind.lower() + "s")
    namespace = str(metadata.get("namespace") or "default")
    try:
        return _injected(it, _TEMPLATES[kind], owner, namespace, settings)
    except InjectionError as wrong:
        raise InjectionError(f"{kind} {namespace}/{name}: {wrong}") from wrong


def _injected(
    place: Object, path: tuple[str, ...], owner: Owner, namespace: str, settings: InjectionSettings
) -> Object:
    if path:
        inside = place.get(path[0])
        if not isinstance(inside, dict):
            raise InjectionError(f"{path[0]} is required: it holds the pod's template")
        return {**place, path[0]: _injected(inside, path[1:], owner, namespace, settings)}
    if not decide(place, namespace, settings).inject:
        return place
    return inject(place, settings, namespace=namespace, owner=owner)
