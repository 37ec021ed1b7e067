"""How many pods does the load ask for? The pure decisions, then the controller with figures that the test says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from plane import Plane, chosen, template

from skiff import scales
from skiff.api import Object
from skiff.controllers import autoscaler
from skiff.controllers.autoscaler_metrics import NoProposalError, World, proposal
from skiff.controllers.autoscaler_rules import Limits, Memory, verdict
from skiff.kinds import (
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    PODS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
)  # fmt: skip

pytestmark = pytest.mark.finding("issue 7 part 5")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def said(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(
    name: str, *, age_s: float = 3600, ready: bool | None = True, since_s: float | None = None, **more: Any
) -> Object:
    """A pod of one container that asks for 100m and 100Mi; ``ready`` None: it has no such condition."""
    since = NOW - timedelta(seconds=age_s if since_s is None else since_s)
    told = (
        [] if ready is None else [{"type": "Ready", "status": str(ready), "lastTransitionTime": said(since)}]
    )
    requests = more.pop("requests", {"cpu": "100m", "memory": "100Mi"})
    return {
        "metadata": {"name": name, **more.pop("metadata", {})},
        "spec": {"containers": [{"name": "main", "resources": {"requests": requests}}], **more.pop("spec", {})},
        "status": {"phase": "Running", "startTime": said(NOW - timedelta(seconds=age_s)), "conditions": told, **more},
    }  # fmt: skip


def metrics(name: str, cpu: str, memory: str = "50Mi", *, age_s: float = 0, window: str = "5s") -> Object:
    usage = [{"name": "main", "usage": {"cpu": cpu, "memory": memory}}]
    return {
        "metadata": {"name": name, "namespace": "default"}, "timestamp": said(NOW - timedelta(seconds=age_s)),
        "window": window, "containers": usage,
    }  # fmt: skip


def share(percent: int, name: str = "cpu") -> Object:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def value(text: str, name: str = "cpu") -> Object:
    target = {"type": "AverageValue", "averageValue": text}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def world(pods: list[Object], *usage: Object) -> World:
    return World(len(pods), pods, {it["metadata"]["name"]: it for it in usage}, NOW)


def three(*usage: Object, **more: Any) -> World:
    return world([pod(it, **more) for it in "abc"], *usage)


def same(cpu: str, **more: Any) -> list[Object]:
    return [metrics(it, cpu, **more) for it in "abc"]


@pytest.mark.parametrize(
    ("cpu", "metric", "replicas"),
    [
        ("100m", share(50), 6), ("50m", share(50), 3), ("54m", share(50), 3), ("56m", share(50), 4), ("46m", share(50), 3),
        ("44m", share(50), 3), ("30m", share(50), 2), ("0", share(50), 0), ("1234567n", share(1), 6), ("1", share(100), 30),
        ("100m", value("50m"), 6), ("54m", value("50m"), 3), ("10m", value("50m"), 1), ("100m", value("1n"), 300),
        ("1", share(200, "memory"), 1), ("1", value("10Mi", "memory"), 15),
    ],
)  # fmt: skip
def test_replicas_by_what_pods_use(cpu: str, metric: Object, replicas: int) -> None:
    assert proposal(metric, three(*same(cpu))).replicas == replicas


def test_what_was_measured_is_told() -> None:
    found = proposal(share(50), three(*same("80m")))
    current = {"averageUtilization": 80, "averageValue": "80m"}
    assert found.status == {"type": "Resource", "resource": {"name": "cpu", "current": current}}
    assert found.name == "cpu resource utilization (percentage of request)"
    found = proposal(value("1Mi", "memory"), three(*same("1")))
    assert found.status["resource"]["current"] == {"averageValue": "52428800"}
    container = {**share(50)["resource"], "container": "main"}
    found = proposal({"type": "ContainerResource", "containerResource": container}, three(*same("80m")))
    assert found.replicas == 5
    assert found.status["containerResource"] == {"name": "cpu", "container": "main", "current": current}


def test_who_is_missing_makes_a_change_small() -> None:
    two = [metrics("a", "100m"), metrics("b", "100m")]
    # Twice the goal: as if the third used nothing, 200 of 300 are 66 %.
    assert proposal(share(50), three(*two)).replicas == 4
    assert proposal(share(80), three(*two)).replicas == 3, "the direction would change"
    idle = [metrics("a", "10m"), metrics("b", "10m")]
    # A fifth: as if the third used all it asks for, 120 of 300 are 40 %.
    assert proposal(share(50), three(*idle)).replicas == 3
    assert proposal(share(150), three(*idle)).replicas == 2
    assert proposal(value("50m"), three(*two)).replicas == 4
    # The third counts as 500m: 520 of 1500.
    assert proposal(value("500m"), three(*idle)).replicas == 2


def test_who_begins_does_not_count() -> None:
    young = pod("c", age_s=20, ready=False, since_s=20)
    for other in (
        young, pod("c", age_s=20, ready=True, since_s=3), pod("c", ready=None), pod("c", phase="Pending"),
        pod("c", age_s=3600, ready=False, since_s=3590),  # it never was ready
    ):  # fmt: skip
        there = world([pod("a"), pod("b"), other], *same("100m"))
        assert proposal(share(50), there).replicas == 4, "as if it used nothing"
        low = world([pod("a"), pod("b"), other], *same("10m"))
        assert proposal(share(50), low).replicas == 1, "of two that count"
    for other in (pod("c", age_s=20, ready=True, since_s=10), pod("c", ready=False, since_s=60)):
        assert proposal(share(50), world([pod("a"), pod("b"), other], *same("100m"))).replicas == 6
    # Memory counts from the beginning.
    assert proposal(share(25, "memory"), world([pod("a"), pod("b"), young], *same("1"))).replicas == 6
    for gone in (pod("c", metadata={"deletionTimestamp": said(NOW)}), pod("c", phase="Failed")):
        assert proposal(share(50), world([pod("a"), pod("b"), gone], *same("100m"))).replicas == 4


@pytest.mark.parametrize(
    ("metric", "there", "reason", "words"),
    [
        (share(50), three(), "FailedGetResourceMetric", "no metrics returned from resource metrics API"),
        (share(50), world([], metrics("z", "1")), "FailedGetResourceMetric", "no metrics returned"),
        (share(50), three(*same("1"), requests={}), "FailedGetResourceMetric",
         "failed to get cpu utilization: missing request for cpu in container main of Pod a"),
        (share(50), three(*same("1"), ready=None), "FailedGetResourceMetric", "pods might be unready"),
        (share(50), three(*same("1"), requests={"cpu": "0"}), "FailedGetResourceMetric", "matched known pods"),
        ({"type": "ContainerResource", "containerResource": {**share(5)["resource"], "container": "x"}}, three(*same("1")),
         "FailedGetContainerResourceMetric", "container x not present in metrics for pod default/"),
        ({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Value", "value": "1"}}}, three(*same("1")),
         "FailedGetResourceMetric", "neither an average utilization target nor"),
        ({"type": "Pods", "pods": {"metric": {"name": "hits"}}}, three(), "FailedGetPodsMetric", "get metric hits"),
        ({"type": "Object", "object": {"metric": {"name": "hits"}}}, three(), "FailedGetObjectMetric", "custom.metrics.k8s.io"),
        ({"type": "External", "external": None}, three(), "FailedGetExternalMetric", "external.metrics.k8s.io"),
        ({"type": "Odd"}, three(), "InvalidMetricSourceType", "Odd"), ({}, three(), "InvalidMetricSourceType", "None"),
    ],
)  # fmt: skip
def test_who_says_nothing_says_why(metric: Object, there: World, reason: str, words: str) -> None:
    with pytest.raises(NoProposalError) as none:
        proposal(metric, there)
    assert none.value.reason == reason
    assert words in str(none.value)


def test_sidecars_and_whole_pods_ask_too() -> None:
    sidecar = {"name": "proxy", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}
    both = [pod(it, spec={"initContainers": [sidecar, {"name": "once"}]}) for it in "abc"]
    assert proposal(share(50), world(both, *same("100m"))).replicas == 3
    whole = [pod(it, spec={"resources": {"requests": {"cpu": "200m"}}}, requests={}) for it in "abc"]
    assert proposal(share(50), world(whole, *same("100m"))).replicas == 3


def test_tolerance_is_the_objects_own() -> None:
    there = three(*same("54m"))
    fewer, _ = there.tolerance
    assert proposal(share(50), there._replace(tolerance=(fewer, fewer / 10))).replicas == 4
    assert proposal(share(50), three(*same("30m"))._replace(tolerance=(fewer * 5, fewer))).replicas == 3


# --- how soon, how far -------------------------------------------------------------------------------


def rules(policies: list[tuple[str, int, int]], **more: Any) -> Object:
    return {"policies": [{"type": a, "value": b, "periodSeconds": c} for a, b, c in policies], **more}


def told(limits: Limits, memory: Memory, current: int, wish: int, at: float = 0.0) -> tuple[int, str, str]:
    found = verdict(limits, memory, current, wish, at)
    assert found.limited == (found.why[0] != "DesiredWithinRange")
    return found.replicas, found.able[0], found.why[0]


def test_without_behavior_more_is_fast_and_fewer_is_slow() -> None:
    limits, memory = Limits(2, 20, None), Memory()
    assert told(limits, memory, 2, 3) == (3, "ReadyForNewScale", "DesiredWithinRange")
    assert told(limits, memory, 3, 30, 5) == (6, "ReadyForNewScale", "ScaleUpLimit")
    assert told(limits, memory, 12, 30, 10) == (20, "ReadyForNewScale", "TooManyReplicas")
    assert told(limits, memory, 20, 1, 15) == (20, "ScaleDownStabilized", "TooManyReplicas")
    assert told(limits, memory, 20, 5, 309) == (20, "ScaleDownStabilized", "TooManyReplicas")
    assert told(limits, memory, 20, 1, 311) == (5, "ScaleDownStabilized", "DesiredWithinRange")
    assert told(limits, memory, 5, 1, 620) == (2, "ReadyForNewScale", "TooFewReplicas")
    assert told(Limits(1, 9, None), Memory(), 1, 9) == (4, "ReadyForNewScale", "ScaleUpLimit")


def test_windows_hold_both_ways() -> None:
    behavior = {"scaleUp": rules([("Pods", 100, 15)], stabilizationWindowSeconds=60),
                "scaleDown": rules([("Pods", 100, 15)], stabilizationWindowSeconds=10)}  # fmt: skip
    limits, memory = Limits(1, 50, behavior), Memory()
    memory.wished(5, 0)
    assert told(limits, memory, 5, 20, 5) == (5, "ScaleUpStabilized", "DesiredWithinRange")
    assert told(limits, memory, 5, 10, 59) == (5, "ScaleUpStabilized", "DesiredWithinRange")
    assert told(limits, memory, 5, 12, 61) == (10, "ScaleUpStabilized", "DesiredWithinRange")
    assert told(limits, memory, 10, 3, 65) == (10, "ScaleDownStabilized", "DesiredWithinRange")
    assert told(limits, memory, 10, 3, 76) == (3, "ReadyForNewScale", "DesiredWithinRange")


def test_policies_count_what_was_done_in_their_period() -> None:
    up = rules([("Pods", 2, 10), ("Percent", 50, 60)])
    down = rules([("Pods", 1, 10), ("Percent", 10, 10)], stabilizationWindowSeconds=0)
    limits, memory = Limits(1, 100, {"scaleUp": up, "scaleDown": down}), Memory()
    assert told(limits, memory, 4, 100)[::2] == (6, "ScaleUpLimit")
    memory.scaled(4, 6, 0)
    assert told(limits, memory, 6, 100, 5)[::2] == (6, "ScaleUpLimit"), "it was done already"
    assert told(limits, memory, 6, 100, 11)[::2] == (8, "ScaleUpLimit")
    assert told(limits, memory, 30, 3, 11)[::2] == (27, "ScaleDownLimit")
    memory.scaled(30, 27, 11)
    assert told(limits, memory, 27, 3, 15)[::2] == (27, "ScaleDownLimit")
    assert told(limits, memory, 27, 3, 22)[::2] == (24, "ScaleDownLimit")
    few = Limits(
        1, 100, {"scaleUp": {**up, "selectPolicy": "Min"}, "scaleDown": {**down, "selectPolicy": "Min"}}
    )
    assert told(few, Memory(), 10, 100)[0] == 12
    assert told(few, Memory(), 30, 3)[0] == 29
    off = Limits(1, 100, {"scaleUp": {"selectPolicy": "Disabled"}, "scaleDown": {"selectPolicy": "Disabled"}})
    assert told(off, Memory(), 10, 100)[::2] == (10, "ScaleUpLimit")
    quick = Memory()
    told(off, quick, 10, 3)
    assert told(off, quick, 10, 3, 301)[::2] == (10, "ScaleDownLimit")
    assert told(Limits(5, 9, {"scaleUp": up, "scaleDown": down}), Memory(), 8, 99)[::2] == (
        9,
        "TooManyReplicas",
    )
    assert told(Limits(8, 9, {"scaleUp": up, "scaleDown": down}), Memory(), 9, 1)[::2] == (
        8,
        "TooFewReplicas",
    )


def test_a_year_of_looks_is_remembered_in_little() -> None:
    memory = Memory()
    for it in range(100_000):
        memory.wished(it // 50 % 7, it * 5.0)
        memory.scaled(1, 1 + it % 2, it * 5.0)
    assert len(memory.wishes) < 20
    assert len(memory.added) < 400


# --- the controller ----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the controller runs fast here; what it decides by is the real code."""
    monkeypatch.setattr(autoscaler, "PERIOD_S", 0.05)
    monkeypatch.setattr(autoscaler, "_NOTHING_S", 0.05)


async def scaled(
    it: Plane, kind: str = "Deployment", api: str = "apps/v1", name: str = "web", **spec: Any
) -> None:
    reference = {"kind": kind, "apiVersion": api, "name": name}
    whole = {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 5, "metrics": [share(50)], **spec}
    await it.make(HORIZONTAL_POD_AUTOSCALERS, name, spec=whole)


async def work(it: Plane, kind: Any = DEPLOYMENTS, name: str = "web", replicas: int = 2, **spec: Any) -> None:
    """A workload whose pods run."""
    container = {"resources": {"requests": {"cpu": "100m"}}}
    selector = {"app": name} if kind is REPLICATION_CONTROLLERS else chosen(name)
    shape = {
        "replicas": replicas,
        "selector": selector,
        "template": template(name, container=container),
        **spec,
    }
    await it.make(kind, name, spec=shape)


def used(it: Plane, cpu: str) -> None:
    """Every pod that runs uses so much."""
    for one in it.all(PODS):
        name, at = one["metadata"]["name"], datetime.now(UTC)
        usage = [{"name": "main", "usage": {"cpu": cpu, "memory": "1Mi"}}]
        it.usage[name] = {
            "metadata": one["metadata"], "timestamp": said(at), "window": "0s", "containers": usage,
        }  # fmt: skip


async def running(it: Plane, count: int, cpu: str) -> None:
    await it.until(lambda: len(it.all(PODS)) >= count, "its pods")
    for one in it.all(PODS):
        if not (one.get("status") or {}).get("startTime"):
            await it.run(one)
            status = {"status": {"startTime": it.registry.now()}}
            await it.api.patch(PODS, "default", one["metadata"]["name"], status, subresource="status")
    used(it, cpu)


def held(it: Plane, type_: str, name: str = "web") -> tuple[str, str]:
    status = (it.get(HORIZONTAL_POD_AUTOSCALERS, name) or {}).get("status") or {}
    return next(
        ((c["status"], c["reason"]) for c in status.get("conditions") or () if c["type"] == type_), ("", "")
    )


async def test_a_deployment_grows_and_says_so(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await work(it)
        await running(it, 2, "100m")
        await scaled(it)
        await it.until(lambda: (it.get(DEPLOYMENTS, "web") or {})["spec"]["replicas"] == 4, "twice as many")
        message = "New size: 4; reason: cpu resource utilization (percentage of request) above target"
        await it.until(lambda: it.events("SuccessfulRescale") == [message], "told")
        await it.until(lambda: held(it, "ScalingActive") == ("True", "ValidMetricFound"), "active")
        status = (it.get(HORIZONTAL_POD_AUTOSCALERS, "web") or {})["status"]
        assert (status["desiredReplicas"], status["observedGeneration"]) == (4, 1)
        assert status["lastScaleTime"]
        assert status["currentMetrics"][0]["resource"]["current"]["averageUtilization"] == 100
        await it.api.patch(HORIZONTAL_POD_AUTOSCALERS, "default", "web", {"spec": {"maxReplicas": 3}})
        await it.until(lambda: (it.get(DEPLOYMENTS, "web") or {})["spec"]["replicas"] == 3, "never more")
        await it.until(
            lambda: any("above Spec.MaxReplicas" in one for one in it.events("SuccessfulRescale")), "told"
        )
        await it.api.patch(DEPLOYMENTS, "default", "web", {"spec": {"replicas": 0}})
        await it.until(lambda: held(it, "ScalingActive") == ("False", "ScalingDisabled"), "zero is off")


@pytest.mark.parametrize("kind", [STATEFUL_SETS, REPLICATION_CONTROLLERS])
async def test_other_kinds_grow(tmp_path: Path, kind: Any) -> None:
    async with Plane(tmp_path) as it:
        more = {"podManagementPolicy": "Parallel", "serviceName": "x"} if kind is STATEFUL_SETS else {}
        await work(it, kind, **more)
        await running(it, 2, "1")
        await scaled(it, kind.kind, kind.api_version)
        await it.until(lambda: (it.get(kind, "web") or {})["spec"]["replicas"] == 4, "more")


async def test_a_custom_kind_grows_by_its_paths(tmp_path: Path) -> None:
    def number(*names: str) -> Object:
        made: Object = {"type": "integer"}
        for it in reversed(names):
            made = {"type": "object", "properties": {it: made}}
        return made

    schema = {"type": "object", "properties": {"spec": number("size", "wanted"), "status": {
        "type": "object", "properties": {"now": {"type": "integer"}, "who": {"type": "string"}}}}}  # fmt: skip
    paths = {
        "specReplicasPath": ".spec.size.wanted",
        "statusReplicasPath": ".status.now",
        "labelSelectorPath": ".status.who",
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
               "subresources": {"status": {}, "scale": paths}}  # fmt: skip
    definition = {"group": "example.com", "scope": "Namespaced", "versions": [version],
                  "names": {"kind": "Farm", "plural": "farms", "singular": "farm"}}  # fmt: skip
    async with Plane(tmp_path) as it:
        await it.make(CUSTOM_RESOURCE_DEFINITIONS, "farms.example.com", spec=definition)
        farms = it.registry.kinds["example.com", "v1", "farms"]
        await it.make(farms, "web", spec={"size": {"wanted": 2}})
        assert scales.read(farms, it.get(farms, "web") or {}) == (2, 0, "")
        await work(it, name="web")
        await running(it, 2, "1")
        await scaled(it, "Farm", "example.com/v1")
        await it.until(lambda: held(it, "ScalingActive") == ("False", "InvalidSelector"), "whose are they?")
        status = {"status": {"now": 2, "who": "app in (web),!old"}}
        await it.api.patch(farms, "default", "web", status, subresource="status")
        await it.until(lambda: (it.get(farms, "web") or {})["spec"]["size"]["wanted"] == 4, "more")


async def test_what_cannot_be_scaled_is_told(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await scaled(it, name="none")
        await scaled(it, "Odd", "example.com/v1", "odd")
        await work(it, DAEMON_SETS, "ds", replicas=None)  # type: ignore[arg-type]
        await scaled(it, "DaemonSet", name="ds")
        for name in ("none", "odd", "ds"):
            await it.until(
                lambda name=name: held(it, "AbleToScale", name) == ("False", "FailedGetScale"), name
            )
        await it.until(lambda: len(it.events("FailedGetScale")) == 3, "each once")
        told_of = it.events("FailedGetScale")
        assert any('no matches for kind "Odd" in group "example.com"' in one for one in told_of)
        assert any('deployments.apps "none" not found' in one for one in told_of)
        await work(it)
        await running(it, 2, "1")
        await scaled(it, metrics=[{"type": "External", "external": {
            "metric": {"name": "hits"}, "target": {"type": "Value", "value": "1"}}}])  # fmt: skip
        await it.until(lambda: held(it, "ScalingActive") == ("False", "FailedGetExternalMetric"), "told")
        await it.until(lambda: it.events("FailedComputeMetricsReplicas"), "an event")
        assert "invalid metrics (1 invalid out of 1)" in it.events("FailedComputeMetricsReplicas")[0]
        other = {"kind": "Deployment", "apiVersion": "apps/v1", "name": "web"}
        await it.make(HORIZONTAL_POD_AUTOSCALERS, "too", spec={"scaleTargetRef": other, "maxReplicas": 3})
        await it.until(lambda: held(it, "ScalingActive") == ("False", "AmbiguousSelector"), "two for one")
        await it.api.delete(HORIZONTAL_POD_AUTOSCALERS, "default", "too")
        await it.until(lambda: held(it, "ScalingActive") == ("False", "FailedGetExternalMetric"), "one again")


async def test_other_metrics_are_warned_about(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        target = {"type": "AverageValue", "averageValue": "1"}
        odd = {"type": "Pods", "pods": {"metric": {"name": "hits"}, "target": target}}
        spec = {
            "scaleTargetRef": {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"},
            "maxReplicas": 2,
        }
        both = {"metadata": {"name": "x"}, "spec": {**spec, "metrics": [odd, share(50)]}}
        warned = await it.warnings(HORIZONTAL_POD_AUTOSCALERS, both)
        assert warned == ["skiff: spec.metrics[0].pods has no effect: there is no custom metrics API"]
        assert await it.warnings(HORIZONTAL_POD_AUTOSCALERS, {"metadata": {"name": "x"}, "spec": spec}) == []
