"""How many replicas does one metric of a HorizontalPodAutoscaler ask for? Pure.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from skiff import quantities
from skiff.api import Object
from skiff.objects import condition, parsed

#: So long after its begin a pod's CPU counts only when it has been ready for as long as it was measured.
_BEGINNING = timedelta(minutes=5)
#: Who became unready so soon after its begin never was ready.
_NEVER_READY = timedelta(seconds=30)
#: A change that is smaller than this share is none.
TOLERANCE = Decimal("0.1")


class NoProposalError(Exception):
    """A metric that says nothing: ``reason`` is that of the condition, the text what is wrong, ``about`` what was tried."""

    def __init__(self, reason: str, said: str, about: str) -> None:
        super().__init__(said)
        self.reason, self.about = reason, about


class World(NamedTuple):
    """What is there when a metric is looked at."""

    replicas: int  # that the target wants now
    pods: list[Object]
    usage: Mapping[str, Object]  # PodMetrics by the pod's name
    moment: datetime
    tolerance: tuple[Decimal, Decimal] = (TOLERANCE, TOLERANCE)  # for fewer, for more


class Proposal(NamedTuple):
    """``name`` is the metric in an event, ``status`` its entry in ``status.currentMetrics``."""

    replicas: int
    name: str
    status: Object


class _Groups(NamedTuple):
    """Pods by what their figures are worth."""

    counted: int
    unready: set[str]
    missing: set[str]
    ignored: set[str]


def proposal(metric: Object, world: World) -> Proposal:
    """What a metric asks for; NoProposalError when nobody can tell."""
    match metric.get("type"):
        case "Resource":
            return _resource(metric.get("resource") or {}, "Resource", world)
        case "ContainerResource":
            return _resource(metric.get("containerResource") or {}, "ContainerResource", world)
        case "Pods" | "Object" as sort:
            said = f"unable to get metric {_called(metric, sort)}: unable to fetch metrics from custom metrics API: no custom "
            said += "metrics API (custom.metrics.k8s.io) registered"
            about = f"failed to get {sort.lower()} metric value"
            raise NoProposalError(f"FailedGet{sort}Metric", said, about)
        case "External":
            name = _called(metric, "External")
            said = f"unable to get external metric {name}: unable to fetch metrics from external metrics API: no external "
            said += "metrics API (external.metrics.k8s.io) registered"
            about = f"failed to get {name} external metric value"
            raise NoProposalError("FailedGetExternalMetric", said, about)
        case sort:
            said = f'unknown metric source type "{sort}"'
            raise NoProposalError("InvalidMetricSourceType", said, "invalid metric")


def _called(metric: Object, sort: str) -> str:
    return str(((metric.get(sort.lower()) or {}).get("metric") or {}).get("name", ""))


def _resource(source: Object, sort: str, world: World) -> Proposal:
    name, container, target = source.get("name", ""), source.get("container", ""), source.get("target") or {}
    goal, share_wanted = target.get("averageValue"), target.get("averageUtilization")
    try:
        if goal is None and share_wanted is None:
            said = "invalid resource metric source: neither an average utilization target nor an average value (usage) target "
            raise ValueError(said + "was set")
        used = _used(name, container, world)
        if goal is not None:
            replicas, average = _by_value(used, max(1, _milli(goal)), name, world)
            current: Object = {"averageValue": _shown(average)}
        else:
            wanted = max(1, int(share_wanted or 0))
            replicas, share, average = _by_share(used, wanted, name, container, world)
            current = {"averageUtilization": share, "averageValue": _shown(average)}
    except ValueError as wrong:
        about = f"failed to get {f'{container} container' if container else f'{name} resource'} metric value"
        said = f"failed to get {name} {'utilization' if goal is None else 'usage'}: {wrong}"
        raise NoProposalError(f"FailedGet{sort}Metric", said, about) from wrong
    what = {"name": name, **({"container": container} if container else {}), "current": current}
    called = f"{name} resource" + (" utilization (percentage of request)" if goal is None else "")
    return Proposal(replicas, called, {"type": sort, "containerResource" if container else "resource": what})


def _used(resource: str, container: str, world: World) -> dict[str, int]:
    """What each pod uses, in thousandths. A pod that was not measured whole is left out."""
    names = {it["metadata"]["name"] for it in world.pods}
    found: dict[str, int] = {}
    for name in sorted(names & set(world.usage)):
        parts = [
            it
            for it in world.usage[name].get("containers") or ()
            if not container or it.get("name") == container
        ]
        if container and not parts:
            namespace = world.usage[name]["metadata"].get("namespace", "")
            said = f"unable to get metrics for resource {resource}: failed to get container metrics: container {container} not "
            raise ValueError(f"{said}present in metrics for pod {namespace}/{name}")
        values = [(it.get("usage") or {}).get(resource) for it in parts]
        known = [_milli(it) for it in values if it is not None]
        if values and len(known) == len(values):
            found[name] = sum(known)
    if not found:
        raise ValueError(
            f"unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
        )
    return found


def _milli(text: str) -> int:
    return int((quantities.parse(text) * 1000).to_integral_value(ROUND_CEILING))


def _shown(milli: int) -> str:
    return quantities.show(Decimal(milli) / 1000)


# --- whom to count -----------------------------------------------------------------------------------


def _grouped(resource: str, used: Collection[str], world: World) -> _Groups:
    groups = _Groups(0, set(), set(), set())
    counted = 0
    for pod in world.pods:
        name, phase = pod["metadata"]["name"], (pod.get("status") or {}).get("phase", "Pending")
        if pod["metadata"].get("deletionTimestamp") or phase == "Failed":
            groups.ignored.add(name)
        elif phase == "Pending":
            groups.unready.add(name)
        elif name not in used:
            groups.missing.add(name)
        elif resource == "cpu" and _unready(pod, world):
            groups.unready.add(name)
        else:
            counted += 1
    return groups._replace(counted=counted)


def _unready(pod: Object, world: World) -> bool:
    """Whether the CPU that was measured says nothing yet: that of a program which begins."""
    said, begun = condition(pod, "Ready"), parsed((pod.get("status") or {}).get("startTime"))
    since = parsed((said or {}).get("lastTransitionTime"))
    if said is None or begun is None or since is None:
        return True
    if begun + _BEGINNING > world.moment:
        measured = world.usage[pod["metadata"]["name"]]
        at, window = parsed(measured.get("timestamp")), _seconds(measured.get("window"))
        return said.get("status") == "False" or at is None or at < since + timedelta(seconds=window)
    return said.get("status") == "False" and begun + _NEVER_READY > since


def _seconds(window: object) -> float:
    try:
        return float(str(window).removesuffix("s"))
    except ValueError:
        return 0.0


# --- how many ----------------------------------------------------------------------------------------


def _by_share(
    used: dict[str, int], goal: int, resource: str, container: str, world: World
) -> tuple[int, int, int]:
    """(replicas, the share of their requests that pods use, what each uses)."""
    groups = _grouped_and_left(used, resource, world)
    requests = _requests(world.pods, resource, container)

    def ratio(figures: Mapping[str, int]) -> tuple[Decimal, int, int]:
        known = [it for it in figures if it in requests]
        asked = sum(requests[it] for it in known)
        if not asked:
            raise ValueError("no metrics returned matched known pods")
        whole = sum(figures[it] for it in known)
        share = whole * 100 // asked
        return Decimal(share) / goal, share, whole // len(known)

    first, share, average = ratio(used)
    full = {it: requests[it] * max(100, goal) // 100 for it in groups.missing}
    return _decided(used, groups, first, full, lambda it: ratio(it)[0], world), share, average


def _by_value(used: dict[str, int], goal: int, resource: str, world: World) -> tuple[int, int]:
    """(replicas, what each pod uses)."""
    groups = _grouped_and_left(used, resource, world)

    def ratio(figures: Mapping[str, int]) -> Decimal:
        return Decimal(sum(figures.values()) // len(figures)) / goal

    average = sum(used.values()) // len(used)
    full = dict.fromkeys(groups.missing, goal)
    return _decided(used, groups, ratio(used), full, ratio, world), average


def _grouped_and_left(used: dict[str, int], resource: str, world: World) -> _Groups:
    """The groups; what does not count is taken out of ``used``."""
    if not world.pods:
        raise ValueError("no pods returned by selector while calculating replica count")
    groups = _grouped(resource, used, world)
    for name in groups.ignored | groups.unready:
        used.pop(name, None)
    if not used:
        raise ValueError("did not receive metrics for targeted pods (pods might be unready)")
    return groups


def _decided(
    used: dict[str, int],
    groups: _Groups,
    ratio: Decimal,
    full: Mapping[str, int],
    ratio_of: Callable[[Mapping[str, int]], Decimal],
    world: World,
) -> int:
    """The number of replicas. Who is missing is thought to be where it makes the change small."""
    more_with_unready = bool(groups.unready) and ratio > 1
    if not more_with_unready and not groups.missing:
        if _within(ratio, world):
            return world.replicas
        return math.ceil(ratio * groups.counted)
    figures = dict(used)
    if ratio < 1:
        figures |= full
    elif ratio > 1:
        figures |= dict.fromkeys(groups.missing, 0)
    if more_with_unready:
        figures |= dict.fromkeys(groups.unready, 0)
    again = ratio_of(figures)
    if _within(again, world) or (ratio < 1 < again) or (again < 1 < ratio):
        return world.replicas
    wanted = math.ceil(again * len(figures))
    turned = (again < 1 and wanted > world.replicas) or (again > 1 and wanted < world.replicas)
    return world.replicas if turned else wanted


def _within(ratio: Decimal, world: World) -> bool:
    fewer, more = world.tolerance
    return 1 - fewer <= ratio <= 1 + more


def _requests(pods: Iterable[Object], resource: str, container: str) -> dict[str, int]:
    """What each pod asks for, in thousandths; ValueError when one of its containers does not say."""
    found = {}
    for pod in pods:
        spec, name = pod["spec"], pod["metadata"]["name"]
        whole = ((spec.get("resources") or {}).get("requests") or {}).get(resource)
        if whole is not None and not container:
            found[name] = _milli(whole)
            continue
        sidecars = [it for it in spec.get("initContainers") or () if it.get("restartPolicy") == "Always"]
        total = 0
        for it in (*spec["containers"], *sidecars):
            if container and it["name"] != container:
                continue
            asked = ((it.get("resources") or {}).get("requests") or {}).get(resource)
            if asked is None:
                said = f"missing request for {resource} in container {it['name']} of Pod {name}"
                raise ValueError(said)
            total += _milli(asked)
        found[name] = total
    return found
