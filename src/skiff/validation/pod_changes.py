"""What of a pod may change once it is there? Nearly nothing: the rest is what it was made for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skiff.api import Object
from skiff.schema.walk import Problem
from skiff.validation.problems import forbidden, invalid, listed, part, text

#: What a plain update is told that would change anything else.
FIELDS_SAID = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_TREATED = (
    "activeDeadlineSeconds", "tolerations", "schedulingGates", "ephemeralContainers", "containers", "initContainers",
)  # fmt: skip


def changed(pod: Object, old: Object) -> Iterator[Problem]:
    """What is new and must not be."""
    new, before = part(pod, "spec"), part(old, "spec")
    if new == before:
        return
    for field in ("containers", "initContainers"):
        if len(listed(new, field)) != len(listed(before, field)):
            yield forbidden(f"spec.{field}", "pod updates may not add or remove containers")
            return
    yield from _deadline(new.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    yield from _tolerations(new, before)
    yield from _gates(new, before)
    yield from _ephemeral(new, before)
    if _fixed(new, before) != _fixed(before, before):
        yield forbidden("spec", FIELDS_SAID)


def _deadline(new: Any, old: Any) -> Iterator[Problem]:
    path = "spec.activeDeadlineSeconds"
    if old is not None and new is None:
        yield invalid(path, None, "must not update from a positive integer to nil value")
    elif old is not None and new > old:
        yield invalid(path, new, "must be less than or equal to previous value")


def _tolerations(new: Any, old: Any) -> Iterator[Problem]:
    """All that were there are still there; only how long they last may change."""
    rest = [_endless(it) for it in listed(new, "tolerations")]
    there = {repr(it) for it in rest}
    if any(repr(_endless(it)) not in there for it in listed(old, "tolerations")):
        said = "existing toleration can not be modified except its tolerationSeconds"
        yield forbidden("spec.tolerations", said)


def _endless(it: Any) -> list[tuple[str, Any]]:
    found = it if isinstance(it, dict) else {}
    return sorted(
        (key, value) for key, value in found.items() if key != "tolerationSeconds" and value is not None
    )


def _gates(new: Any, old: Any) -> Iterator[Problem]:
    had = {text(it, "name") for it in listed(old, "schedulingGates")}
    for index, it in enumerate(listed(new, "schedulingGates")):
        if (name := text(it, "name")) not in had:
            said = f"only deletion is allowed, but found new scheduling gate '{name}'"
            yield forbidden(f"spec.schedulingGates[{index}].name", said)


def _ephemeral(new: Any, old: Any) -> Iterator[Problem]:
    there = {text(it, "name"): it for it in listed(new, "ephemeralContainers")}
    for it in listed(old, "ephemeralContainers"):
        name = text(it, "name")
        if name not in there:
            yield forbidden(
                "spec.ephemeralContainers", f'existing ephemeral containers "{name}" may not be removed'
            )
        elif there[name] != it:
            yield forbidden(
                "spec.ephemeralContainers", f'existing ephemeral containers "{name}" may not be changed'
            )


def _fixed(spec: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """What may not change; a node is named once, and a pod that nobody may place yet can still become pickier."""
    kept = {name: it for name, it in spec.items() if name not in _TREATED}
    for field in ("containers", "initContainers"):
        kept[field] = [
            {name: value for name, value in it.items() if name != "image"}
            for it in listed(spec, field)
            if isinstance(it, dict)
        ]
    if not old.get("nodeName"):
        kept.pop("nodeName", None)
    if old.get("schedulingGates"):
        kept.pop("nodeSelector", None)
        kept.pop("affinity", None)
    if (old.get("terminationGracePeriodSeconds") or 0) < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        kept["terminationGracePeriodSeconds"] = old.get("terminationGracePeriodSeconds")
    return kept
