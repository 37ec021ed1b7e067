"""What does kubectl show of pods and of what makes them? The cells after NAME."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from skiff.api import Object
from skiff.apiserver.cells import NONE, UNSET, age, born, join, pairs, selector


def pod(it: Object, now: datetime) -> list[Any]:
    """Pods."""
    status, spec = it.get("status") or {}, it.get("spec") or {}
    sidecars = {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    lasting = [
        *(status.get("containerStatuses") or ()),
        *(c for c in status.get("initContainerStatuses") or () if c["name"] in sidecars),
    ]
    total = len(spec.get("containers") or ()) + len(sidecars)
    ready = sum(1 for c in lasting if c.get("ready"))
    shown = lasting if _condition(it, "Initialized") else status.get("initContainerStatuses") or ()
    gates = spec.get("readinessGates") or ()
    passed = sum(_condition(it, gate["conditionType"]) for gate in gates)
    return [
        f"{ready}/{total}", pod_reason(it), _restarts(shown, now), born(it, now), status.get("podIP") or NONE,
        spec.get("nodeName") or NONE, status.get("nominatedNodeName") or NONE, f"{passed}/{len(gates)}" if gates else NONE,
    ]  # fmt: skip


def _restarts(containers: Iterable[Object], now: datetime) -> str:
    count = sum(c.get("restartCount", 0) for c in containers)
    ends = [((c.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for c in containers]
    last = max((end for end in ends if end), default=None)
    return f"{count} ({age(last, now)} ago)" if count and last else str(count)


def _condition(it: Object, kind: str) -> bool:
    held = (it.get("status") or {}).get("conditions") or ()
    return any(c["type"] == kind and c.get("status") == "True" for c in held)


def pod_reason(it: Object) -> str:
    """The STATUS column: why a pod is not simply Running."""
    status = it.get("status") or {}
    phase = status.get("phase") or "Pending"
    if it["metadata"].get("deletionTimestamp") and phase not in ("Succeeded", "Failed"):
        return "Terminating"
    beginning = _init_reason(it)
    if beginning and not _condition(it, "Initialized"):
        return beginning
    reason, running = str(status.get("reason") or phase), False
    for c in reversed(status.get("containerStatuses") or ()):
        state = c.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif ended is not None:
            reason = _end_reason(ended)
        elif c.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        return "Running" if _condition(it, "Ready") else "NotReady"
    return reason


def _init_reason(it: Object) -> str:
    """What the first init container that is not done says; "" when all are."""
    inits = (it.get("spec") or {}).get("initContainers") or ()
    sidecars = {c["name"] for c in inits if c.get("restartPolicy") == "Always"}
    for n, c in enumerate((it.get("status") or {}).get("initContainerStatuses") or ()):
        state = c.get("state") or {}
        ended, waiting = state.get("terminated"), (state.get("waiting") or {}).get("reason", "")
        if (ended is not None and ended.get("exitCode") == 0) or (c["name"] in sidecars and c.get("started")):
            continue
        if ended is not None:
            return f"Init:{_end_reason(ended)}"
        return f"Init:{waiting}" if waiting and waiting != "PodInitializing" else f"Init:{n}/{len(inits)}"
    return ""


def _end_reason(ended: Object) -> str:
    signal = f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"
    return str(ended.get("reason") or signal)


def _containers(it: Object) -> list[str]:
    spec = it.get("spec") or {}
    template = (spec.get("jobTemplate") or {}).get("spec", {}).get("template") or spec.get("template") or {}
    found = (template.get("spec") or {}).get("containers") or ()
    return [join(c["name"] for c in found), join(c.get("image", "") for c in found)]


def deployment(it: Object, now: datetime) -> list[Any]:
    """Deployments."""
    status, spec = it.get("status") or {}, it.get("spec") or {}
    return [
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}", status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0), born(it, now), *_containers(it), selector(spec.get("selector")),
    ]  # fmt: skip


def replica_set(it: Object, now: datetime) -> list[Any]:
    """ReplicaSets and ReplicationControllers."""
    status, spec = it.get("status") or {}, it.get("spec") or {}
    chosen = spec.get("selector") or {}
    return [
        spec.get("replicas", 1), status.get("replicas", 0), status.get("readyReplicas", 0), born(it, now), *_containers(it),
        pairs(chosen) if it.get("kind") == "ReplicationController" else selector(chosen),
    ]  # fmt: skip


def stateful_set(it: Object, now: datetime) -> list[Any]:
    """StatefulSets."""
    ready, wanted = (
        (it.get("status") or {}).get("readyReplicas", 0),
        (it.get("spec") or {}).get("replicas", 1),
    )
    return [f"{ready}/{wanted}", born(it, now), *_containers(it)]


def daemon_set(it: Object, now: datetime) -> list[Any]:
    """DaemonSets."""
    status, spec = it.get("status") or {}, it.get("spec") or {}
    words = (
        "desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable",
    )  # fmt: skip
    nodes = pairs((spec.get("template") or {}).get("spec", {}).get("nodeSelector"))
    return [
        *(status.get(w, 0) for w in words),
        nodes,
        born(it, now),
        *_containers(it),
        selector(spec.get("selector")),
    ]


def job(it: Object, now: datetime) -> list[Any]:
    """Jobs."""
    status, spec = it.get("status") or {}, it.get("spec") or {}
    done, wanted, beside = status.get("succeeded", 0), spec.get("completions"), spec.get("parallelism") or 0
    completions = (
        f"{done}/{wanted}" if wanted is not None else f"{done}/1 of {beside}" if beside > 1 else f"{done}/1"
    )
    begun, ended = status.get("startTime"), status.get("completionTime")
    took = age(begun, datetime.fromisoformat(ended) if ended else now) if begun else ""
    return [
        _job_status(it),
        completions,
        took,
        born(it, now),
        *_containers(it),
        selector(spec.get("selector")),
    ]


def _job_status(it: Object) -> str:
    if _condition(it, "Complete"):
        return "Complete"
    if _condition(it, "Failed"):
        return "Failed"
    if it["metadata"].get("deletionTimestamp"):
        return "Terminating"
    order = (
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    )
    return next((shown for kind, shown in order if _condition(it, kind)), "Running")


def cron_job(it: Object, now: datetime) -> list[Any]:
    """CronJobs."""
    status, spec = it.get("status") or {}, it.get("spec") or {}
    last = status.get("lastScheduleTime")
    return [
        spec.get("schedule", ""), spec.get("timeZone") or NONE, str(bool(spec.get("suspend"))), len(status.get("active") or ()),
        age(last, now) if last else NONE, born(it, now), *_containers(it), NONE,
    ]  # fmt: skip


def autoscaler(it: Object, now: datetime) -> list[Any]:
    """HorizontalPodAutoscalers."""
    status, spec = it.get("status") or {}, it.get("spec") or {}
    target, measured = spec.get("scaleTargetRef") or {}, status.get("currentMetrics") or ()
    shown = [
        _measure(metric, measured[place] if place < len(measured) else {})
        for place, metric in enumerate(spec.get("metrics") or ())
    ]
    return [
        f"{target.get('kind', '')}/{target.get('name', '')}", ", ".join(shown) or NONE, spec.get("minReplicas", UNSET),
        spec.get("maxReplicas", 0), status.get("currentReplicas", 0), born(it, now),
    ]  # fmt: skip


def _measure(metric: Object, found: Object) -> str:
    """One metric as ``cpu: 12%/80%``."""
    sort = metric.get("type", "")
    field = sort[:1].lower() + sort[1:]
    source, current = metric.get(field) or {}, (found.get(field) or {}).get("current") or {}
    wanted = source.get("target") or {}
    name = source.get("name") or (source.get("metric") or {}).get("name") or sort
    if "averageUtilization" in wanted:
        share = current.get("averageUtilization")
        return f"{name}: {'<unknown>' if share is None else f'{share}%'}/{wanted['averageUtilization']}%"
    goal = wanted.get("averageValue", wanted.get("value", "<auto>"))
    return f"{name}: {current.get('averageValue') or '<unknown>'}/{goal}"


def budget(it: Object, now: datetime) -> list[Any]:
    """PodDisruptionBudgets."""
    spec = it.get("spec") or {}
    allowed = (it.get("status") or {}).get("disruptionsAllowed", 0)
    return [
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        allowed,
        born(it, now),
    ]


def pod_template(it: Object, _: datetime) -> list[Any]:
    """PodTemplates."""
    template = it.get("template") or {}
    return [
        *_containers({"spec": {"template": template}}),
        pairs((template.get("metadata") or {}).get("labels")),
    ]
