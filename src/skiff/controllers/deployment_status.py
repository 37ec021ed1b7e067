"""How far is a rollout? The words and conditions ``kubectl rollout status`` reads."""

from __future__ import annotations

from datetime import datetime

from skiff.api import Object
from skiff.controllers.cluster import Cluster
from skiff.kinds import DEPLOYMENTS
from skiff.objects import condition, now, parsed, stamp


def _sum(sets: list[Object], field: str) -> int:
    return sum(int((it.get("status") or {}).get(field, 0)) for it in sets)


def _unavailable_allowed(deployment: Object) -> int:
    from skiff.controllers.deployment import limits  # the two modules answer halves of one question

    return limits(deployment)[1]


def complete(deployment: Object, new: Object, sets: list[Object]) -> bool:
    """All pods are new and available, and nothing of the old is left."""
    desired = int(deployment["spec"].get("replicas", 1))
    updated = int((new.get("status") or {}).get("replicas", 0))
    current = (new.get("status") or {}).get("observedGeneration", 0) >= new["metadata"].get("generation", 0)
    return current and updated == desired == _sum(sets, "replicas") == _sum(sets, "availableReplicas")


async def tell(cluster: Cluster, deployment: Object, new: Object | None, sets: list[Object]) -> float | None:
    """Write the status; answers when the progress deadline should be looked at."""
    moment = now()
    desired = int(deployment["spec"].get("replicas", 1))
    available = _sum(sets, "availableReplicas")
    counts = {
        "replicas": _sum(sets, "replicas"),
        "updatedReplicas": _sum([new] if new else [], "replicas"),
        "readyReplicas": _sum(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, desired - available),
    }
    progressing, deadline = _progressing(deployment, new, sets, counts, moment)
    told = [_available(deployment, available >= desired - _unavailable_allowed(deployment), moment)]
    failing = next((found for it in sets if (found := condition(it, "ReplicaFailure"))), None)
    told += [progressing] if progressing else []
    told += [_kept(deployment, failing | {"type": "ReplicaFailure"}, moment)] if failing else []
    status = {**counts, "observedGeneration": deployment["metadata"].get("generation", 1), "conditions": told}
    await cluster.status(DEPLOYMENTS, deployment, status)
    return deadline


def _available(deployment: Object, enough: bool, moment: datetime) -> Object:
    if enough:
        reason, message = "MinimumReplicasAvailable", "Deployment has minimum availability."
    else:
        reason, message = "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    told = {"type": "Available", "status": str(enough), "reason": reason, "message": message}
    return _kept(deployment, told, moment)


def _progressing(
    deployment: Object, new: Object | None, sets: list[Object], counts: dict[str, int], moment: datetime
) -> tuple[Object | None, float | None]:
    held = condition(deployment, "Progressing")
    allowed = int(deployment["spec"].get("progressDeadlineSeconds", 600))
    if deployment["spec"].get("paused"):
        told = {"status": "Unknown", "reason": "DeploymentPaused", "message": "Deployment is paused"}
        return (_kept(deployment, {"type": "Progressing", **told}, moment), None)
    if new is None:
        return (held, None)
    name = new["metadata"]["name"]
    if complete(deployment, new, sets):
        said = f'ReplicaSet "{name}" has successfully progressed.'
        told = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": said}
        return (_kept(deployment, told, moment), None)
    before = deployment.get("status") or {}
    if held is None or f'"{name}"' not in held.get("message", "") or held.get("reason") == "DeploymentPaused":
        said = f'Created new replica set "{name}"'
        told = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated", "message": said}
        return (_kept(deployment, told, moment, renew=True), float(allowed))
    moved = (
        counts["updatedReplicas"] > before.get("updatedReplicas", 0)
        or counts["readyReplicas"] > before.get("readyReplicas", 0)
        or counts["availableReplicas"] > before.get("availableReplicas", 0)
        or counts["replicas"] - counts["updatedReplicas"]
        < before.get("replicas", 0) - before.get("updatedReplicas", 0)
    )
    if moved or held.get("reason") == "NewReplicaSetAvailable":
        said = f'ReplicaSet "{name}" is progressing.'
        told = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": said}
        return (_kept(deployment, told, moment, renew=True), float(allowed))
    since = parsed(held.get("lastUpdateTime")) or moment
    left = allowed - (moment - since).total_seconds()
    if left > 0 or held.get("reason") == "ProgressDeadlineExceeded":
        return (held, left + 1 if left > 0 else None)
    said = f'ReplicaSet "{name}" has timed out progressing.'
    told = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": said}
    return (_kept(deployment, told, moment), None)


def _kept(deployment: Object, told: Object, moment: datetime, *, renew: bool = False) -> Object:
    """The condition with the times of the present one where nothing changed."""
    held = condition(deployment, told["type"]) or {}
    same = all(held.get(name) == told.get(name) for name in ("status", "reason", "message"))
    turned = held.get("lastTransitionTime") if held.get("status") == told["status"] else None
    return {
        "type": told["type"], "status": told["status"], "reason": told["reason"], "message": told["message"],
        "lastUpdateTime": held["lastUpdateTime"] if same and not renew and "lastUpdateTime" in held else stamp(moment),
        "lastTransitionTime": turned or stamp(moment),
    }  # fmt: skip
