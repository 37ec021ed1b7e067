"""What must hold of the metadata of any object, built-in or custom?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from skiff.api import Object
from skiff.kinds import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CRON_JOBS,
    EVENTS,
    EVENTS_V1,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SERVICES,
    STATEFUL_SETS,
    Kind,
)  # fmt: skip
from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.problems import (
    IMMUTABLE,
    each,
    entries,
    forbidden,
    invalid,
    listed,
    part,
    required,
    text,
    texts,
    too_long,
)  # fmt: skip

_Check = Callable[[str], Iterable[str]]
#: Names of most kinds are subdomains. Services since 1.37: a label, before that one that begins with a letter.
_NAMES: dict[Kind, _Check] = {
    **dict.fromkeys((NAMESPACES, SERVICES, STATEFUL_SETS), names.label),
    **dict.fromkeys((ROLES, ROLE_BINDINGS, CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, EVENTS, EVENTS_V1), names.segment),
}  # fmt: skip
#: A CronJob's Jobs are called by its name and eleven characters.
_LONGEST = {CRON_JOBS: 52}
ANNOTATIONS_BYTES = 256 * 1024
_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


def broken(kind: Kind, obj: Object, old: Object | None) -> Iterator[Problem]:
    """What is wrong with an object's own metadata."""
    metadata = part(obj, "metadata")
    before = part(old, "metadata")
    if old is None:
        yield from _name(kind, metadata)
    if metadata.get("labels") != before.get("labels"):
        yield from labels(metadata, "metadata")
    if metadata.get("annotations") != before.get("annotations"):
        yield from annotated(metadata, "metadata")
    if metadata.get("ownerReferences") != before.get("ownerReferences"):
        yield from _owners(metadata)
    if metadata.get("finalizers") != before.get("finalizers"):
        yield from _finalizers(kind, metadata, old is None)
        yield from _late_finalizers(metadata, before)


def _name(kind: Kind, metadata: dict[str, Any]) -> Iterator[Problem]:
    check = _NAMES.get(kind, names.subdomain)
    if prefix := text(metadata, "generateName"):
        tail = prefix.rstrip("-") if prefix.endswith("-") else prefix
        yield from each("metadata.generateName", prefix, check(tail or "-"))
    name = text(metadata, "name")
    if not name:
        yield required("metadata.name", "name or generateName is required")
        return
    yield from each("metadata.name", name, check(name))
    if len(name) > (most := _LONGEST.get(kind, 253)):
        yield invalid("metadata.name", name, f"must be no more than {most} characters")


def labels(value: Any, place: str, field: str = "labels") -> Iterator[Problem]:
    """Keys and values of a map of labels."""
    path = f"{place}.{field}" if place else field
    for key, it in part(value, field).items():
        yield from each(path, key, names.qualified(key))
        yield from each(path, it, names.label_value(it or ""))


def annotated(value: Any, place: str) -> Iterator[Problem]:
    """Keys, and the size of all together."""
    path, size = f"{place}.annotations", 0
    for key, it in part(value, "annotations").items():
        yield from each(path, key, names.qualified(key.lower()))
        size += len(key.encode(errors="replace")) + len((it or "").encode(errors="replace"))
    if size > ANNOTATIONS_BYTES:
        yield too_long(path, ANNOTATIONS_BYTES)


def _owners(metadata: dict[str, Any]) -> Iterator[Problem]:
    path = "metadata.ownerReferences"
    controllers = []
    for index, it in enumerate(listed(metadata, "ownerReferences")):
        where = f"{path}[{index}]"
        group, _, version = text(it, "apiVersion").rpartition("/")
        if not version or "/" in group:
            yield invalid(f"{where}.apiVersion", text(it, "apiVersion"), "version must not be empty")
        for field in ("kind", "name", "uid"):
            if not text(it, field):
                yield invalid(f"{where}.{field}", "", f"{field} must not be empty")
        if (text(it, "apiVersion"), text(it, "kind")) in (("v1", "Event"), ("events.k8s.io/v1", "Event")):
            yield invalid(
                where, it, f"{text(it, 'apiVersion')}, Kind=Event is disallowed from being an owner"
            )
        if part({"it": it}, "it").get("controller"):
            controllers.append(text(it, "name"))
    if len(controllers) > 1:
        said = 'Only one reference can have Controller set to true. Found "true" in references for '
        yield invalid(path, listed(metadata, "ownerReferences"), said + " and ".join(controllers[:2]))


def _finalizers(kind: Kind, metadata: dict[str, Any], new: bool) -> Iterator[Problem]:
    path, found = "metadata.finalizers", texts(metadata, "finalizers")
    for index, it in enumerate(found):
        yield from each(path, it, names.qualified(it))
        if new and not kind.custom and it and "/" not in it and it not in _STANDARD_FINALIZERS:
            said = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"{path}[{index}]", it, said)
    if {"orphan", "foregroundDeletion"} <= set(found):
        said = "finalizer foregroundDeletion and orphan cannot be both set"
        yield invalid(path, found, said)


def _late_finalizers(metadata: dict[str, Any], before: dict[str, Any]) -> Iterator[Problem]:
    """Nobody may keep an object that is on its way out."""
    if not before.get("deletionTimestamp"):
        return
    had = set(texts(before, "finalizers"))
    fresh = [it for it in texts(metadata, "finalizers") if it not in had]
    if fresh:
        said = "no new finalizers can be added if the object is being deleted, found new finalizers "
        yield forbidden(
            "metadata.finalizers", said + "[]string{" + ", ".join(f'"{it}"' for it in fresh) + "}"
        )


def template(value: Any, place: str) -> Iterator[Problem]:
    """Metadata of pods that are to be made."""
    metadata = part(value, "metadata")
    yield from labels(metadata, place)
    yield from annotated(metadata, place)


def selector(value: Any, path: str) -> Iterator[Problem]:
    """A metav1.LabelSelector."""
    yield from labels(value, path, "matchLabels")
    for where, it in entries(value, "matchExpressions", path):
        operator, values = text(it, "operator"), texts(it, "values")
        if operator in ("In", "NotIn"):
            if not values:
                yield required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                said = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield forbidden(f"{where}.values", said)
        else:
            yield invalid(f"{where}.operator", operator, "not a valid selector operator")
        yield from each(f"{where}.key", text(it, "key"), names.qualified(text(it, "key")))
        for number, one in enumerate(values):
            yield from each(f"{where}.values[{number}]", one, names.label_value(one))


def identity(given: dict[str, Any], old: dict[str, Any]) -> Iterator[Problem]:
    """What a client says of moments that only the server sets; leaving them out is no change."""
    for field in ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        said = given.get(field)
        if said is not None and not _same(said, old.get(field)):
            yield invalid(f"metadata.{field}", said, IMMUTABLE)


def _same(one: Any, other: Any) -> bool:
    """Clients write a moment in forms of their own: ``Z`` or ``+00:00``, with parts of a second or without."""
    if isinstance(one, str) and isinstance(other, str):
        return one[:19] == other[:19]
    return bool(one == other)
