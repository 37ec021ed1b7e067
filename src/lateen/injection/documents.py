"""How do manifests look with their sidecars written out? For ``lateen kube-inject``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from lateen.injection.advice import advice
from lateen.injection.annotations import InjectionError
from lateen.injection.decide import decide
from lateen.injection.inject import inject
from lateen.injection.settings import InjectionSettings
from lateen.names.owners import Owner

Object = dict[str, Any]

#: Kind -> where its pod template lies.
_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Pod": (), "Deployment": ("spec", "template"), "StatefulSet": ("spec", "template"), "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"), "Job": ("spec", "template"), "ReplicationController": ("spec", "template"),
    "DeploymentConfig": ("spec", "template"), "CronJob": ("spec", "jobTemplate", "spec", "template"),
}  # fmt: skip


def inject_documents(
    documents: Iterable[Any], settings: InjectionSettings, tell: Callable[[str], None]
) -> Iterator[Any]:
    """Every document; those that make pods with the sidecar in them, unless they say no. InjectionError names which.

    ``tell`` hears what will surprise their authors.
    """
    for it in documents:
        if not isinstance(it, dict):
            yield it
        elif isinstance(it.get("items"), list) and str(it.get("kind", "")).endswith("List"):
            yield {**it, "items": list(inject_documents(it["items"], settings, tell))}
        elif it.get("kind") in _TEMPLATES:
            yield _document(it, settings, tell)
        else:
            yield it


class _Place(NamedTuple):
    """Where a pod's template was found."""

    owner: Owner
    namespace: str
    settings: InjectionSettings
    tell: Callable[[str], None]


def _document(it: Object, settings: InjectionSettings, tell: Callable[[str], None]) -> Object:
    kind, metadata = str(it["kind"]), it.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = str(metadata.get("name") or str(metadata.get("generateName") or "").rstrip("-"))
    owner = Owner(name, str(it.get("apiVersion") or "v1"), kind.lower() + "s")
    namespace = str(metadata.get("namespace") or "default")
    here = f"{kind} {namespace}/{name}: "
    try:
        return _injected(
            it, _TEMPLATES[kind], _Place(owner, namespace, settings, lambda said: tell(here + said))
        )
    except InjectionError as wrong:
        raise InjectionError(f"{here}{wrong}") from wrong


def _injected(it: Object, path: tuple[str, ...], place: _Place) -> Object:
    if path:
        inside = it.get(path[0])
        if not isinstance(inside, dict):
            raise InjectionError(f"{path[0]} is required: it holds the pod's template")
        return {**it, path[0]: _injected(inside, path[1:], place)}
    decision = decide(it, place.namespace, place.settings)
    if not decision.inject:
        place.tell(f"no sidecar: {decision.reason}")
        return it
    made = inject(it, place.settings, namespace=place.namespace, owner=place.owner)
    for said in advice(it):
        place.tell(said)
    return made
