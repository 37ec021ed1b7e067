"""How is a pod doing? Its status, from the states of its containers. No I/O."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from skiff.api import Object
from skiff.names import NODE_IP

_USUAL_GRACE_S = 30.0
#: Reason and message of a pod whose ``activeDeadlineSeconds`` are over.
EXPIRED = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


def stamp() -> str:
    """Now, as metav1.Time writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def addressed(pod: Object, ip: str) -> Object:
    """With the addresses in its status, whatever was stored so far: references to them must find them."""
    if not ip:
        return pod
    own = {"podIP": ip, "podIPs": [{"ip": ip}], "hostIP": NODE_IP, "hostIPs": [{"ip": NODE_IP}]}
    return {**pod, "status": {**(pod.get("status") or {}), **own}}


def grace(pod: Object) -> float:
    """Seconds that its containers have to end. 0 is a number of seconds, too."""
    said = pod["spec"].get("terminationGracePeriodSeconds")
    return _USUAL_GRACE_S if said is None else 1.0 if said < 0 else float(said)


def grace_of_deletion(pod: Object, *, resumed: bool) -> float:
    """Seconds that a deleted pod has to end; what is left of them, when its end is gone on with."""
    metadata = pod["metadata"]
    whole = float(metadata.get("deletionGracePeriodSeconds") or 0)
    if not resumed or not (until := metadata.get("deletionTimestamp")):
        return whole
    return min(max(_moment(until) - time.time(), 0.0), whole)


def left(pod: Object, begun: str) -> float | None:
    """Seconds until a pod that began then has to end; None: for ever."""
    said = pod["spec"].get("activeDeadlineSeconds")
    return None if said is None else _moment(begun) + said - time.time()


def _moment(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


class Life(NamedTuple):
    """How far a pod is. ``over``: every container has ended for good, sidecars too."""

    initialized: bool
    over: bool
    ip: str
    begun: str
    failed: tuple[str, str] | None = None  # reason and message, when it was ended for something of its own


def is_sidecar(spec: Object) -> bool:
    """Whether an init container stays."""
    return bool(spec.get("restartPolicy") == "Always")


def status(pod: Object, inits: list[Object], mains: list[Object], lates: list[Object], how: Life) -> Object:
    """The whole status, from those of the containers."""
    sidecars = {it["name"] for it in pod["spec"].get("initContainers") or () if is_sidecar(it)}
    lasting = [*(it for it in inits if it["name"] in sidecars), *mains]
    found: Object = {
        "phase": phase(pod, inits, mains, initialized=how.initialized, over=how.over), "hostIP": NODE_IP,
        "hostIPs": [{"ip": NODE_IP}], "podIP": how.ip or None, "podIPs": [{"ip": how.ip}] if how.ip else None,
        "startTime": how.begun, "containerStatuses": mains, "qosClass": quality(pod),
        "conditions": conditions(
            pod, lasting, initialized=how.initialized, networked=bool(how.ip), over=how.over
        ),
    }  # fmt: skip
    if inits:
        found["initContainerStatuses"] = inits
    if lates:
        found["ephemeralContainerStatuses"] = lates
    if how.failed and how.over:
        found["phase"], (found["reason"], found["message"]) = "Failed", how.failed
    return found


def phase(pod: Object, inits: list[Object], mains: list[Object], *, initialized: bool, over: bool) -> str:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase

    ``over``: every container has ended for good, sidecars too.
    """
    if over:
        sidecars = {
            it["name"]
            for it in pod["spec"].get("initContainers") or ()
            if it.get("restartPolicy") == "Always"
        }
        counted = [*mains, *(it for it in inits if it["name"] not in sidecars)]
        return "Failed" if any(_failed(it) for it in counted) else "Succeeded"
    if not initialized or not mains:
        return "Pending"
    if any("running" in it["state"] or it["restartCount"] or "terminated" in it["state"] for it in mains):
        return "Running"
    return "Pending"


def _failed(it: Object) -> bool:
    ended = it["state"].get("terminated")
    return ended is None or bool(ended["exitCode"])


def conditions(
    pod: Object, lasting: list[Object], *, initialized: bool, networked: bool, over: bool
) -> list[Object]:
    """Conditions with the time of their last change. ``lasting``: the states of sidecars and main containers."""
    held = {it["type"]: it for it in (pod.get("status") or {}).get("conditions") or ()}
    unready = [it["name"] for it in lasting if not it["ready"]]
    reason = (
        ("PodCompleted", "")
        if over
        else ("ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    )
    ready = not unready and initialized and bool(lasting) and not over
    shut = [
        it["conditionType"] for it in pod["spec"].get("readinessGates") or ()
        if (held.get(it["conditionType"]) or {}).get("status") != "True"
    ]  # fmt: skip
    gates = (
        ("ReadinessGatesNotReady", f"the status of pod readiness gate {shut} is not True") if shut else None
    )
    why_not = gates if ready and gates else reason
    uninitialized = ("ContainersNotInitialized", "containers with incomplete status")
    wanted: list[tuple[str, bool, tuple[str, str]]] = [
        ("PodReadyToStartContainers", networked, ("", "")), ("Initialized", initialized, uninitialized),
        ("Ready", ready and not shut, why_not), ("ContainersReady", ready, reason), ("PodScheduled", True, ("", "")),
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


class Before(NamedTuple):
    """What a container did before this daemon began: how often it was started, and how the last run ended."""

    restarts: int
    last: Object


def earlier(pod: Object) -> dict[str, Before]:
    """The containers' past, from the status that an earlier daemon wrote."""
    status = pod.get("status") or {}
    every: Iterable[Object] = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    return {it["name"]: before(it) for it in every}


def ready_runs(pod: Object) -> dict[str, str]:
    """The ids of the runs that were ready, by container."""
    every = (
        (pod.get("status") or {}).get(kind) or () for kind in ("initContainerStatuses", "containerStatuses")
    )
    return {
        it["name"]: str(it.get("containerID") or "").removeprefix("skiff://")
        for kind in every for it in kind if it.get("ready")
    }  # fmt: skip


def initialized(pod: Object) -> bool:
    """Whether its init containers had done their work."""
    told = (pod.get("status") or {}).get("conditions") or ()
    return any(it["type"] == "Initialized" and it["status"] == "True" for it in told)


def before(it: Object) -> Before:
    """What the next run is to be told of the one with this ContainerStatus."""
    if not it.get("containerID"):
        return Before(it.get("restartCount", 0), {})
    state = it.get("state") or {}
    # As a kubelet whose machine was restarted: nobody saw the end.
    unknown = {
        "exitCode": 255, "reason": "Unknown", "startedAt": (state.get("running") or {}).get("startedAt"),
        "finishedAt": stamp(), "containerID": it["containerID"],
    }  # fmt: skip
    return Before(it.get("restartCount", 0) + 1, {"terminated": state.get("terminated") or unknown})


def quality(pod: Object) -> str:
    """The quality-of-service class the API server worked out."""
    found: Any = (pod.get("status") or {}).get("qosClass")
    return str(found or "BestEffort")
