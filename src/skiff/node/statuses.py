"""How is a pod doing? Its status, from the states of its containers. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from skiff.api import Object


def stamp() -> str:
    """Now, as metav1.Time writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def phase(pod: Object, inits: list[Object], mains: list[Object], *, initialized: bool) -> str:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase"""
    policy = pod["spec"].get("restartPolicy", "Always")
    if policy == "Never" and any(_failed(it) for it in inits):
        return "Failed"
    if not initialized or not mains:
        return "Pending"
    if all("terminated" in it["state"] for it in mains) and policy != "Always":
        ended = [it["state"]["terminated"]["exitCode"] == 0 for it in mains]
        if all(ended):
            return "Succeeded"
        if policy == "Never":
            return "Failed"
    if any("running" in it["state"] or it["restartCount"] or "terminated" in it["state"] for it in mains):
        return "Running"
    return "Pending"


def _failed(it: Object) -> bool:
    return bool((it["state"].get("terminated") or {}).get("exitCode"))


def conditions(
    pod: Object, mains: list[Object], *, initialized: bool, networked: bool, over: bool
) -> list[Object]:
    """Conditions with the time of their last change."""
    held = {it["type"]: it for it in (pod.get("status") or {}).get("conditions") or ()}
    unready = [it["name"] for it in mains if not it["ready"]]
    reason = (
        ("PodCompleted", "")
        if over
        else ("ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    )
    ready = not unready and initialized and bool(mains) and not over
    uninitialized = ("ContainersNotInitialized", "containers with incomplete status")
    wanted: list[tuple[str, bool, tuple[str, str]]] = [
        ("PodReadyToStartContainers", networked, ("", "")), ("Initialized", initialized, uninitialized),
        ("Ready", ready, reason), ("ContainersReady", ready, reason), ("PodScheduled", True, ("", "")),
    ]  # fmt: skip
    made = []
    for kind, good, (why, message) in wanted:
        status = "True" if good else "False"
        before = held.get(kind) or {}
        same = before.get("status") == status
        entry = {
            "type": kind,
            "status": status,
            "lastProbeTime": None,
            "lastTransitionTime": before["lastTransitionTime"] if same else stamp(),
        }
        if not good and why:
            entry |= {"reason": why, **({"message": message} if message else {})}
        made.append(entry)
    others = [it for kind, it in held.items() if kind not in {name for name, _, _ in wanted}]
    return [*made, *others]


def restarts(pod: Object) -> dict[str, int]:
    """How often each container was started before this daemon."""
    status = pod.get("status") or {}
    every: Iterable[Object] = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    return {it["name"]: it.get("restartCount", 0) + (1 if it.get("containerID") else 0) for it in every}


def quality(pod: Object) -> str:
    """The quality-of-service class the API server worked out."""
    found: Any = (pod.get("status") or {}).get("qosClass")
    return str(found or "BestEffort")
