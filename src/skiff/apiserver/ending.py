"""How does an object end? At once, or marked until somebody has acted: finalizers, a pod's node, a namespace's contents."""

from __future__ import annotations

from collections.abc import Callable

from skiff.api import Object
from skiff.kinds import NAMESPACES, PODS, Kind


def finalizers(obj: Object) -> list[str]:
    """Who must act before it is gone."""
    found: list[str] = obj["metadata"].get("finalizers") or []
    return found


def marked(
    kind: Kind, old: Object, propagation: str, grace_seconds: int | None, moment: Callable[[int], str]
) -> Object | None:
    """What is stored when it shall end; None: nobody has to act, and it goes. ``moment`` writes that in so many seconds."""
    metadata = dict(old["metadata"])
    extra = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}.get(propagation)
    if extra and extra not in finalizers(old):
        metadata["finalizers"] = [*finalizers(old), extra]
    waits = bool(metadata.get("finalizers")) or (
        kind is NAMESPACES and bool(old.get("spec", {}).get("finalizers"))
    )
    grace = _grace(kind, old, grace_seconds)
    if not waits and grace == 0:
        return None
    if not metadata.get("deletionTimestamp") or grace < metadata.get("deletionGracePeriodSeconds", 0):
        metadata["deletionTimestamp"] = moment(grace)
        metadata["deletionGracePeriodSeconds"] = grace
    made = {**old, "metadata": metadata}
    if kind is NAMESPACES:
        made["status"] = {**old.get("status", {}), "phase": "Terminating"}
    return made


def graceful(kind: Kind, obj: Object) -> bool:
    """Whether the node still has to end it: it removes the object itself, with a grace of 0."""
    return kind is PODS and obj["metadata"].get("deletionGracePeriodSeconds", 0) > 0


def _grace(kind: Kind, obj: Object, asked: int | None) -> int:
    """Seconds a pod has to end; a pod that no node runs, and everything else, ends at once."""
    if kind is not PODS or not obj.get("spec", {}).get("nodeName"):
        return 0
    if obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    default = obj.get("spec", {}).get("terminationGracePeriodSeconds", 30)
    return max(0, default if asked is None else asked)
