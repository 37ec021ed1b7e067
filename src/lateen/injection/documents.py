"""How do manifests look with their sidecars written out? For ``lateen kube-inject``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lateen.injection.decide import INJECT, STATUS
from lateen.injection.inject import inject
from lateen.injection.settings import InjectionSettings

Object = dict[str, Any]

#: Kind -> where its pod template lies.
_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Pod": (), "Deployment": ("spec", "template"), "StatefulSet": ("spec", "template"), "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"), "Job": ("spec", "template"), "ReplicationController": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}  # fmt: skip


def inject_documents(documents: Iterable[Object], settings: InjectionSettings) -> Iterator[Object]:
    """Every document; those that make pods with the sidecar in them, unless they say no."""
    for it in documents:
        if it.get("kind") == "List":
            yield {**it, "items": list(inject_documents(it.get("items") or [], settings))}
        elif it.get("kind") in _TEMPLATES:
            yield _injected(it, _TEMPLATES[it["kind"]], it, settings)
        else:
            yield it


def _injected(place: Object, path: tuple[str, ...], whole: Object, settings: InjectionSettings) -> Object:
    if path:
        inside = place.get(path[0])
        return (
            {**place, path[0]: _injected(inside, path[1:], whole, settings)}
            if isinstance(inside, dict)
            else place
        )
    metadata = place.get("metadata") or {}
    said = {**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}
    if (
        str(said.get(INJECT, "")).lower() == "false"
        or STATUS in said
        or (place.get("spec") or {}).get("hostNetwork")
    ):
        return place
    if not isinstance((place.get("spec") or {}).get("containers"), list):
        return place
    named = {**place, "metadata": {**metadata, "name": whole["metadata"].get("name", "")}}
    made = inject(named, settings, namespace=whole["metadata"].get("namespace") or "default")
    if "name" not in metadata:
        del made["metadata"]["name"]
    return made
