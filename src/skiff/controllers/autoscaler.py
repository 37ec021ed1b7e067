"""How many pods does the load ask for? HorizontalPodAutoscalers, each looked at every few seconds.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, NoReturn

from skiff import quantities, scales
from skiff.api import Object
from skiff.apiserver.custom import kinds_of
from skiff.controllers.autoscaler_metrics import TOLERANCE, NoProposalError, Proposal, World, proposal
from skiff.controllers.autoscaler_rules import Limits, Memory, verdict
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.errors import ApiError
from skiff.kinds import BUILT_IN, CUSTOM_RESOURCE_DEFINITIONS, HORIZONTAL_POD_AUTOSCALERS, PODS, Kind
from skiff.objects import key_of, now, stamp
from skiff.scales import Scale

_SOURCE = "horizontal-pod-autoscaler"
#: Kubernetes looks every 15 s; on one machine a look is cheap, and who tries something out waits for it.
PERIOD_S = 5.0
#: Where there is nothing to scale.
_NOTHING_S = 15.0
#: Each of many has its turn so much later: ten thousand are no load.
_TURN_S = 0.02


@dataclass(slots=True)
class _State:
    """What is remembered between two looks."""

    memories: dict[Key, Memory] = field(default_factory=dict)
    claimants: dict[str, set[Key]] = field(default_factory=dict)  # of a pod's uid
    claimed: dict[Key, set[str]] = field(default_factory=dict)
    measured: dict[str, tuple[float, dict[str, Object]]] = field(default_factory=dict)  # by namespace
    warnings: dict[Key, set[str]] = field(default_factory=dict)

    def claim(self, key: Key, uids: set[str]) -> set[Key]:
        """Note which pods an autoscaler means; all that mean one of them."""
        for gone in self.claimed.pop(key, set()) - uids:
            self.claimants[gone].discard(key)
            if not self.claimants[gone]:
                del self.claimants[gone]
        if uids:
            self.claimed[key] = uids
        for uid in uids:
            self.claimants.setdefault(uid, set()).add(key)
        return {it for uid in uids for it in self.claimants[uid]}

    def forget(self, key: Key) -> None:
        self.memories.pop(key, None)
        self.warnings.pop(key, None)
        self.claim(key, set())


class _Target(NamedTuple):
    """What is scaled."""

    kind: Kind
    object: Object
    scale: Scale


class _Wish(NamedTuple):
    """What the metrics ask for."""

    replicas: int
    name: str  # of the metric that decided
    statuses: list[Object]
    trouble: str


class _UnknownError(Exception):
    """Nobody can tell how many there should be; the conditions say why."""

    def __init__(self, said: str, statuses: list[Object] | None = None) -> None:
        super().__init__(said)
        self.statuses = statuses


class _Told:
    """The conditions, as they become, and the events of one look: what the last one said already is not said again."""

    def __init__(self, hpa: Object, state: _State) -> None:
        self.generation = hpa["metadata"].get("generation", 1)
        self._before = state.warnings.get(key_of(hpa), set())
        self._now = state.warnings[key_of(hpa)] = set()
        self.conditions: list[Object] = list((hpa.get("status") or {}).get("conditions") or ())

    def say(self, type_: str, ok: bool, reason: str, message: str) -> None:
        """Set one; its time changes when its status does."""
        held = next((it for it in self.conditions if it.get("type") == type_), {})
        same = held.get("status") == str(ok)
        made = {
            "type": type_, "status": str(ok), "reason": reason, "message": message,
            "lastTransitionTime": held["lastTransitionTime"] if same else stamp(now()),
        }  # fmt: skip
        if held:
            self.conditions[self.conditions.index(held)] = made
        else:
            self.conditions.append(made)

    async def warn(self, cluster: Cluster, hpa: Object, reason: str, message: str) -> None:
        """An event, once as long as it stays so."""
        self._now.add(f"{reason} {message}")
        if f"{reason} {message}" not in self._before:
            await cluster.event(hpa, "Warning", reason, message, _SOURCE)


def controller(cluster: Cluster) -> Controller:
    """Autoscalers, woken by what users write and by the clock."""
    state = _State()

    async def reconcile(key: Key) -> float | None:
        hpa = cluster.informers[HORIZONTAL_POD_AUTOSCALERS].get(*key)
        if hpa is None or hpa["metadata"].get("deletionTimestamp"):
            state.forget(key)
            return None
        wait = await _reconcile(cluster, state, hpa)
        return max(wait, _TURN_S * len(cluster.informers[HORIZONTAL_POD_AUTOSCALERS].objects))

    it = Controller("autoscaler", reconcile, workers=1)

    def changed(old: Object | None, new: Object | None) -> None:
        obj = new or old
        # What is written of it here must not wake it.
        if obj is not None and (old is None or new is None or old.get("spec") != new.get("spec")):
            it.queue.add(key_of(obj))

    cluster.informers[HORIZONTAL_POD_AUTOSCALERS].listen(changed)
    return it


async def _reconcile(cluster: Cluster, state: _State, hpa: Object) -> float:
    told = _Told(hpa, state)
    try:
        target = await _target(cluster, hpa)
    except ApiError as refused:
        state.claim(key_of(hpa), set())
        await told.warn(cluster, hpa, "FailedGetScale", refused.message)
        said = f"the HPA controller was unable to get the target's current scale: {refused.message}"
        told.say("AbleToScale", False, "FailedGetScale", said)
        await _write(cluster, hpa, told, {})
        return _NOTHING_S
    said = "the HPA controller was able to get the target's current scale"
    told.say("AbleToScale", True, "SucceededGetScale", said)
    current = target.scale.wanted
    memory = state.memories.get(key_of(hpa))
    if memory is None:
        memory = state.memories[key_of(hpa)] = Memory()
        memory.wished(current, _clock())
    try:
        wanted, reason, statuses = await _wanted(cluster, state, hpa, target, told)
    except _UnknownError as unknown:
        await _write(
            cluster, hpa, told, {"currentReplicas": current, "currentMetrics": unknown.statuses or None}
        )
        await told.warn(cluster, hpa, "FailedComputeMetricsReplicas", str(unknown))
        return PERIOD_S
    fields: Object = {
        "currentReplicas": current,
        "desiredReplicas": wanted,
        "currentMetrics": statuses or None,
    }
    if wanted != current:
        await _scale(cluster, hpa, target, told, wanted, reason)
        memory.scaled(current, wanted, _clock())
        fields["lastScaleTime"] = stamp(now())
    await _write(cluster, hpa, told, fields)
    return PERIOD_S


def _clock() -> float:
    return asyncio.get_running_loop().time()


async def _write(cluster: Cluster, hpa: Object, told: _Told, fields: Object) -> None:
    held = hpa.get("status") or {}
    status = {
        "observedGeneration": told.generation, "conditions": told.conditions,
        "currentReplicas": held.get("currentReplicas", 0), "desiredReplicas": held.get("desiredReplicas", 0), **fields,
    }  # fmt: skip
    await cluster.status(HORIZONTAL_POD_AUTOSCALERS, hpa, status)


# --- the target --------------------------------------------------------------------------------------


async def _target(cluster: Cluster, hpa: Object) -> _Target:
    reference = hpa["spec"]["scaleTargetRef"]
    kind = _kind(cluster, reference)
    found = await cluster.api.get(kind, hpa["metadata"]["namespace"], reference["name"])
    return _Target(kind, found, scales.read(kind, found))


def _kind(cluster: Cluster, reference: Object) -> Kind:
    """The kind that is named; the version does not matter, as in Kubernetes."""
    name, (group, _, version) = reference["kind"], reference.get("apiVersion", "").rpartition("/")
    found = [it for it in BUILT_IN if (it.group, it.kind) == (group, name)]
    for it in cluster.informers[CUSTOM_RESOURCE_DEFINITIONS].objects.values():
        if it["spec"]["group"] == group and it["spec"]["names"]["kind"] == name:
            found += kinds_of(it)
    if not found:
        said = "unable to determine resource for scale target reference: no matches for kind "
        raise ApiError(404, "NotFound", f'{said}"{name}" in group "{group}"')
    scaled = [it for it in found if "scale" in it.subresources and it.namespaced]
    if not scaled:
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    return next((it for it in scaled if it.version == version), scaled[0])


async def _scale(
    cluster: Cluster, hpa: Object, target: _Target, told: _Told, replicas: int, reason: str
) -> None:
    try:
        made = await cluster.api.update(target.kind, scales.scaled(target.kind, target.object, replicas))
    except ApiError as refused:
        if refused.code == 409:  # somebody was quicker: look again
            raise
        said = f"New size: {replicas}; reason: {reason}; error: {refused.message}"
        await told.warn(cluster, hpa, "FailedRescale", said)
        said = f"the HPA controller was unable to update the target scale: {refused.message}"
        told.say("AbleToScale", False, "FailedUpdateScale", said)
        await _write(cluster, hpa, told, {})
        raise
    if not target.kind.custom:
        cluster.informers[target.kind].learn(made)
    said = f"the HPA controller was able to update the target scale to {replicas}"
    told.say("AbleToScale", True, "SucceededRescale", said)
    said = f"New size: {replicas}; reason: {reason}"
    await cluster.event(hpa, "Normal", "SuccessfulRescale", said, _SOURCE)


# --- how many ----------------------------------------------------------------------------------------


async def _wanted(
    cluster: Cluster, state: _State, hpa: Object, target: _Target, told: _Told
) -> tuple[int, str, list[Object]]:
    """(replicas, why they change, what was measured)."""
    spec, current = hpa["spec"], target.scale.wanted
    least, most = int(spec.get("minReplicas") or 1), int(spec["maxReplicas"])
    if current == 0 and least:
        said = "scaling is disabled since the replica count of the target is zero"
        told.say("ScalingActive", False, "ScalingDisabled", said)
        return 0, "", []
    if current > most:
        return most, "Current number of replicas above Spec.MaxReplicas", []
    if current < least:
        return least, "Current number of replicas below Spec.MinReplicas", []
    wish = await _asked(cluster, state, hpa, target, told)
    if wish.trouble:
        await told.warn(cluster, hpa, "FailedComputeMetricsReplicas", wish.trouble)
    found = verdict(
        Limits(least, most, spec.get("behavior")), state.memories[key_of(hpa)], current, wish.replicas, _clock()
    )  # fmt: skip
    told.say("AbleToScale", True, *found.able)
    told.say("ScalingLimited", found.limited, *found.why)
    reason = f"{wish.name} above target" if wish.replicas > current else "All metrics below target"
    return found.replicas, reason, wish.statuses


async def _asked(cluster: Cluster, state: _State, hpa: Object, target: _Target, told: _Told) -> _Wish:
    """The greatest number that one of the metrics asks for."""
    world = await _world(cluster, state, hpa, target, told)
    proposals: list[Proposal] = []
    statuses: list[Object] = []
    troubles: list[NoProposalError] = []
    metrics = hpa["spec"].get("metrics") or ()
    for it in metrics:
        try:
            found = proposal(it, world)
        except NoProposalError as none:
            await told.warn(cluster, hpa, none.reason, str(none))
            troubles.append(none)
            statuses.append({"type": ""})  # as Kubernetes shows what is unknown
        else:
            proposals.append(found)
            statuses.append(found.status)
    said = ""
    best = max(proposals, key=lambda it: it.replicas, default=None)
    if troubles:
        first = f"{troubles[0].about}: {troubles[0]}"
        said = f"invalid metrics ({len(troubles)} invalid out of {len(metrics)}), first error is: {first}"
    if best is None or (troubles and best.replicas < world.replicas):
        if troubles:
            why = f"the HPA was unable to compute the replica count: {troubles[0]}"
            told.say("ScalingActive", False, troubles[0].reason, why)
        raise _UnknownError(said or "no metrics", statuses)
    why = f"the HPA was able to successfully calculate a replica count from {best.name}"
    told.say("ScalingActive", True, "ValidMetricFound", why)
    return _Wish(best.replicas, best.name, statuses, said)


async def _world(cluster: Cluster, state: _State, hpa: Object, target: _Target, told: _Told) -> World:
    """The pods and what they use."""
    namespace, selector = hpa["metadata"]["namespace"], target.scale.selector
    if not selector:
        await _no_pods(cluster, hpa, told, "SelectorRequired", "selector is required", "InvalidSelector",
                       "the HPA target's scale is missing a selector")  # fmt: skip
    try:
        pods = await cluster.api.list(PODS, namespace, labels=selector)
    except ApiError as wrong:
        said = f"couldn't convert selector into a corresponding internal selector object: {wrong.message}"
        await _no_pods(cluster, hpa, told, "InvalidSelector", said, "InvalidSelector", said)
    every = state.claim(key_of(hpa), {it["metadata"]["uid"] for it in pods})
    if len(every) > 1:
        listed = " ".join("/".join(it) for it in sorted(every))
        said = f"pods by selector {selector} are controlled by multiple HPAs: [{listed}]"
        await _no_pods(cluster, hpa, told, "AmbiguousSelector", said, "AmbiguousSelector", said)
    at = _clock()
    held = state.measured.get(namespace)
    if held is None or at - held[0] > PERIOD_S / 2:  # many autoscalers share a look
        usage = {it["metadata"]["name"]: it for it in await cluster.settings.usage(namespace)}
        held = state.measured[namespace] = (at, usage)
        for old in [name for name, it in state.measured.items() if at - it[0] > 60]:
            del state.measured[old]
    return World(target.scale.wanted, pods, held[1], now(), _tolerance(hpa["spec"].get("behavior") or {}))


async def _no_pods(
    cluster: Cluster, hpa: Object, told: _Told, event: str, said: str, reason: str, why: str
) -> NoReturn:
    await told.warn(cluster, hpa, event, said)
    told.say("ScalingActive", False, reason, why)
    raise _UnknownError(said)


def _tolerance(behavior: Object) -> tuple[Decimal, Decimal]:
    fewer, more = ((behavior.get(it) or {}).get("tolerance") for it in ("scaleDown", "scaleUp"))
    return _read(fewer), _read(more)


def _read(text: str | None) -> Decimal:
    try:
        return TOLERANCE if text is None else quantities.parse(text)
    except ValueError:  # checked when it was stored
        return TOLERANCE
