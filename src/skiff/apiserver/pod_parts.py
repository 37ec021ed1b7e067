"""Which parts of a pod change by a subresource of their own? Its node by a binding, and the containers that come later."""

from __future__ import annotations

from typing import Any

from skiff.api import Object
from skiff.errors import ApiError, invalid
from skiff.kinds import Kind
from skiff.validation.pod_changes import FIELDS_SAID
from skiff.validation.problems import forbidden

#: Subresource -> the field of the spec that it writes; all else stays as it is.
PARTS = {"binding": "nodeName", "ephemeralcontainers": "ephemeralContainers"}


def replaced(old: Object, obj: Object, subresource: str) -> Object:
    """The pod with that part from ``obj``."""
    field = PARTS[subresource]
    given: Any = obj.get("spec") or {}
    spec = {name: it for name, it in old["spec"].items() if name != field}
    if given.get(field):
        spec[field] = given[field]
    return {**old, "spec": spec}


def require_settled(new: Object, old: Object) -> None:
    """422 when a plain update changes one of these parts."""
    before, now = old.get("spec") or {}, new.get("spec") or {}
    if any((now.get(it) or None) != (before.get(it) or None) for it in PARTS.values()):
        raise invalid("Pod", "", old["metadata"]["name"], [forbidden("spec", FIELDS_SAID)])


def bound(pod: Object, binding: Object) -> Object:
    """The pod as a Binding wants it; 409 when it has a node, or may have none yet."""
    name, spec = pod["metadata"]["name"], pod["spec"]
    target = (binding.get("target") or {}).get("name", "")
    why = ""
    if pod["metadata"].get("deletionTimestamp"):
        why = f"pod {name} is being deleted, cannot be assigned to a host"
    elif spec.get("nodeName"):
        why = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
    elif spec.get("schedulingGates"):
        why = f"pod {name} has non-empty .spec.schedulingGates"
    if why:
        said = f'Operation cannot be fulfilled on pods/binding "{name}": {why}'
        raise ApiError(409, "Conflict", said, {"name": name, "kind": "pods/binding"})
    if not target:
        raise invalid("Binding", "", name, [("FieldValueRequired", "Required value", "target.name")])
    return {**pod, "spec": {**spec, "nodeName": target}}


def applied_part(kind: Kind, applied: Object, subresource: str) -> Object:
    """What may be applied there: a status is neither applied nor owned with the object, and nothing else with a status."""
    if not subresource:
        return {k: v for k, v in applied.items() if k != "status" or "status" not in kind.subresources}
    given = applied.get("metadata") or {}
    metadata = {k: given[k] for k in ("resourceVersion", "uid", "managedFields") if k in given}
    part = "spec" if subresource in PARTS else subresource
    head = {k: applied[k] for k in ("apiVersion", "kind", part) if k in applied}
    return {**head, "metadata": metadata}
