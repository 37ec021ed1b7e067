"""What does a PodDisruptionBudget say, and of which pods? Asked by its controller and by evictions. Pure."""

from __future__ import annotations

from datetime import datetime

from skiff.api import Object
from skiff.objects import condition, matches, stamp


def selects(budget: Object, pod: Object) -> bool:
    """Whether a pod is under the budget. No selector selects nothing, an empty one every pod of the namespace."""
    return matches((budget.get("spec") or {}).get("selector"), pod["metadata"].get("labels"))


def condition_of(budget: Object, *, allowed: bool, reason: str, message: str, moment: datetime) -> Object:
    """DisruptionAllowed, with the time since which it is so."""
    held = condition(budget, "DisruptionAllowed") or {}
    same = held.get("status") == str(allowed)
    return {
        "type": "DisruptionAllowed", "status": str(allowed), "reason": reason, "message": message,
        "observedGeneration": budget["metadata"].get("generation", 1),
        "lastTransitionTime": held["lastTransitionTime"] if same else stamp(moment),
    }  # fmt: skip
