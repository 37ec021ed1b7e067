"""What may namespaces, nodes and events be?"""

from __future__ import annotations

from collections.abc import Iterator

from skiff.api import Object
from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.placement import taints
from skiff.validation.problems import each, invalid, part, text, texts

_STANDARD = ("kubernetes", "orphan", "foregroundDeletion")


def namespace(obj: Object, _old: Object | None) -> Iterator[Problem]:
    for index, it in enumerate(texts(part(obj, "spec"), "finalizers")):
        path = f"spec.finalizers[{index}]"
        yield from each(path, it, names.qualified(it))
        if it and "/" not in it and it not in _STANDARD:
            said = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(path, it, said)


def node(obj: Object, old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    yield from taints(spec, "spec")
    for index, it in enumerate(texts(spec, "podCIDRs")):
        yield from each(f"spec.podCIDRs[{index}]", it, names.network(it))
    before = text(part(old, "spec"), "providerID")
    if before and before != text(spec, "providerID"):
        yield (
            "FieldValueForbidden",
            'Forbidden: node updates may not change providerID except from "" to valid',
            "spec.providerID",
        )


def event(obj: Object, old: Object | None) -> Iterator[Problem]:
    """An old-style one must lie where its object is."""
    about = part(obj, "involvedObject") or part(obj, "regarding")
    field = "involvedObject" if "involvedObject" in obj else "regarding"
    place, own = text(about, "namespace"), text(part(obj, "metadata"), "namespace")
    if old is None and place != own and (place or own != "default"):
        yield invalid(f"{field}.namespace", place, "does not match event.namespace")
