"""May this pod be taken away? Evictions keep the promise of PodDisruptionBudgets, as ``kubectl drain`` expects.

https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from skiff.api import Object
from skiff.apiserver.registry import Registry
from skiff.budgets import condition_of, selects
from skiff.errors import ApiError, conflict
from skiff.kinds import POD_DISRUPTION_BUDGETS, PODS
from skiff.objects import condition, ready

_AGAIN_S = 10
_MOST_GRANTED = 2000
_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
_SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


async def evict(
    registry: Registry, namespace: str, name: str, eviction: Object, *, dry_run: bool = False
) -> None:
    """Delete the pod, or raise: 429 while its budget does not allow it, 500 when it has several budgets."""
    if not isinstance(eviction, dict):
        raise ApiError(400, "BadRequest", "the body of an eviction is an Eviction object")
    named = (eviction.get("metadata") or {}).get("name")
    if named and named != name:
        raise ApiError(400, "BadRequest", "name in URL does not match name in Eviction object")
    options = eviction.get("deleteOptions") or {}
    dry = dry_run or options.get("dryRun") == ["All"]
    pod = registry.get(PODS, namespace, name)
    _as_expected(pod, options.get("preconditions") or {})
    if not _free(pod):
        budgets = [
            it for it in registry.store.all(POD_DISRUPTION_BUDGETS.storage, namespace) if selects(it, pod)
        ]
        if len(budgets) > 1:
            raise ApiError(500, "InternalError", _SEVERAL)
        if budgets and not _unhealthy(budgets[0], pod):
            await _spend(registry, budgets[0], name, dry=dry)
    await registry.delete(
        PODS, namespace, name, uid=pod["metadata"]["uid"], grace_seconds=options.get("gracePeriodSeconds"),
        propagation=options.get("propagationPolicy") or "Background", dry_run=dry,
    )  # fmt: skip


def _as_expected(pod: Object, preconditions: dict[str, Any]) -> None:
    """The pod is the one that the caller saw."""
    for word, key in (("UID", "uid"), ("ResourceVersion", "resourceVersion")):
        asked, held = preconditions.get(key), pod["metadata"].get(key)
        if asked and asked != held:
            why = f"Precondition failed: {word} in precondition: {asked}, {word} in object meta: {held}"
            raise conflict("pods", "", pod["metadata"]["name"], why)


def _free(pod: Object) -> bool:
    """Who does not run, or is ending already, disrupts nothing."""
    phase = (pod.get("status") or {}).get("phase", "Pending")
    return phase != "Running" or bool(pod["metadata"].get("deletionTimestamp"))


def _unhealthy(budget: Object, pod: Object) -> bool:
    """A pod that is not ready may go: always, or when the others are enough without it."""
    if ready(pod):
        return False
    status = budget.get("status") or {}
    enough: bool = status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0
    return enough or bool(budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow")


async def _spend(registry: Registry, budget: Object, pod: str, *, dry: bool) -> None:
    name, status = budget["metadata"]["name"], budget.get("status") or {}
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 1):
        said = f"The disruption budget {name} is still being processed by the server."
        raise _refusal(said, _AGAIN_S)
    allowed = status.get("disruptionsAllowed", 0)
    if len(status.get("disruptedPods") or {}) > _MOST_GRANTED:
        said = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise ApiError(403, "Forbidden", f'poddisruptionbudgets.policy "{name}" is forbidden: {said}')
    if allowed <= 0:
        held = condition(budget, "DisruptionAllowed") or {}
        said = f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods"
        said += f" and has {status.get('currentHealthy', 0)} currently"
        if held.get("reason") == "SyncFailed":
            said = f"The disruption budget {name} does not allow evicting pods currently because it failed sync: "
            said += held.get("message", "")
        raise _refusal(said, 0)
    moment = datetime.now(UTC)
    spent: Object = {
        **status, "disruptionsAllowed": allowed - 1,
        "disruptedPods": {**(status.get("disruptedPods") or {}), pod: registry.now()},
    }  # fmt: skip
    if allowed == 1:
        told = condition_of(budget, allowed=False, reason="InsufficientPods", message="", moment=moment)
        spent["conditions"] = [told]
    await registry.update(
        POD_DISRUPTION_BUDGETS, budget["metadata"]["namespace"], name, {**budget, "status": spent}, subresource="status",
        dry_run=dry,
    )  # fmt: skip


def _refusal(why: str, seconds: int) -> ApiError:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    return ApiError(
        429, "TooManyRequests", _REFUSED, {**details, "retryAfterSeconds": seconds} if seconds else details
    )
