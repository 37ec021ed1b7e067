"""Does an eviction keep the promise of a PodDisruptionBudget?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plane import Plane, chosen, template

from skiff.api import Object
from skiff.apiserver.eviction import evict
from skiff.errors import ApiError
from skiff.kinds import DAEMON_SETS, DEPLOYMENTS, POD_DISRUPTION_BUDGETS, PODS

pytestmark = pytest.mark.finding("issue 7 part 5")


async def web(it: Plane, replicas: int = 3) -> list[Object]:
    await it.make(
        DEPLOYMENTS,
        "web",
        spec={"replicas": replicas, "selector": chosen("web"), "template": template("web")},
    )
    pods = await it.until(lambda: len(found := it.all(PODS)) == replicas and found, "its pods")
    return [await it.run(pod) for pod in pods]


async def budget(it: Plane, name: str = "web", **spec: Any) -> Object:
    await it.make(POD_DISRUPTION_BUDGETS, name, spec={"selector": chosen("web"), **spec})
    return await it.until(
        lambda: (found := it.get(POD_DISRUPTION_BUDGETS, name)) and found.get("status"), "counted"
    )


def status(it: Plane, name: str = "web") -> Object:
    found = it.get(POD_DISRUPTION_BUDGETS, name)
    return (found or {}).get("status") or {}


@pytest.mark.finding("skiff 3")
@pytest.mark.parametrize(
    ("spec", "desired", "allowed"),
    [
        ({"minAvailable": 2}, 2, 1), ({"minAvailable": "50%"}, 2, 1), ({"minAvailable": "100%"}, 3, 0),
        ({"maxUnavailable": 1}, 2, 1), ({"maxUnavailable": "40%"}, 1, 2), ({"maxUnavailable": 0}, 3, 0),
        ({"maxUnavailable": 9}, 0, 3),
    ],
)  # fmt: skip
async def test_a_budget_counts_what_its_controller_wants(
    tmp_path: Path, spec: Any, desired: int, allowed: int
) -> None:
    async with Plane(tmp_path) as it:
        await web(it)
        await budget(it, **spec)
        await it.until(lambda: status(it).get("currentHealthy") == 3, "all are healthy")
        told = status(it)
        assert (told["expectedPods"], told["desiredHealthy"], told["disruptionsAllowed"]) == (
            3,
            desired,
            allowed,
        )
        assert told["conditions"][0]["reason"] == ("SufficientPods" if allowed else "InsufficientPods")


@pytest.mark.finding("skiff 3")
async def test_evictions_stop_where_the_budget_does_and_go_on_when_there_are_enough(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        pods = await web(it)
        await budget(it, minAvailable=2)
        await it.until(lambda: status(it).get("disruptionsAllowed") == 1, "one may go")
        await evict(it.registry, "default", pods[0]["metadata"]["name"], {}, dry_run=True)
        assert status(it)["disruptionsAllowed"] == 1
        await evict(it.registry, "default", pods[0]["metadata"]["name"], {})
        # At once: nobody has had time to count again.
        with pytest.raises(ApiError) as refused:
            await evict(it.registry, "default", pods[1]["metadata"]["name"], {})
        told = refused.value.status()
        assert (told["code"], told["reason"]) == (429, "TooManyRequests")
        assert told["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
        said = "The disruption budget web needs 2 healthy pods and has 3 currently"
        assert told["details"]["causes"][0] == {"reason": "DisruptionBudget", "message": said}
        # Who is ending may be evicted again, as drain does.
        await evict(it.registry, "default", pods[0]["metadata"]["name"], {})
        await it.gone(pods[0])
        names = {pod["metadata"]["name"] for pod in pods}
        fresh = await it.until(
            lambda: next((p for p in it.all(PODS) if p["metadata"]["name"] not in names), None), "another"
        )
        with pytest.raises(ApiError):
            await evict(it.registry, "default", pods[1]["metadata"]["name"], {})
        await it.run(fresh)
        await it.until(lambda: status(it)["disruptionsAllowed"] == 1, "one may go again")
        assert "disruptedPods" not in status(it)
        await evict(it.registry, "default", pods[1]["metadata"]["name"], {})


async def test_the_unhealthy_the_pending_and_the_finished_go_as_the_policy_says(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        pods = await web(it)
        await it.run(pods[0], ready=False)
        await budget(it, minAvailable=3)
        await it.until(lambda: status(it).get("currentHealthy") == 2, "two are healthy")
        name = pods[0]["metadata"]["name"]
        with pytest.raises(ApiError):
            await evict(it.registry, "default", name, {})
        await it.api.patch(
            POD_DISRUPTION_BUDGETS, "default", "web", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}
        )
        await evict(it.registry, "default", name, {})
        with pytest.raises(ApiError, match="disruption budget"):
            await evict(it.registry, "default", pods[1]["metadata"]["name"], {})
        await it.gone(pods[0])
        names = {pod["metadata"]["name"] for pod in pods}
        pending = await it.until(
            lambda: next((p for p in it.all(PODS) if p["metadata"]["name"] not in names), None), "another"
        )
        await evict(it.registry, "default", pending["metadata"]["name"], {})


async def test_what_cannot_be_answered_is_refused_in_kubernetes_words(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        pods = await web(it)
        name = pods[0]["metadata"]["name"]
        await budget(it, maxUnavailable=3)
        await budget(it, "other", selector={})
        with pytest.raises(ApiError, match="more than one PodDisruptionBudget") as several:
            await evict(it.registry, "default", name, {})
        assert several.value.code == 500
        await it.api.delete(POD_DISRUPTION_BUDGETS, "default", "other")
        for eviction, code in (
            ({"metadata": {"name": "somebody"}}, 400), ([], 400),
            ({"deleteOptions": {"preconditions": {"uid": "another"}}}, 409),
            ({"deleteOptions": {"preconditions": {"resourceVersion": "1"}}}, 409),
        ):  # fmt: skip
            with pytest.raises(ApiError) as refused:
                await evict(it.registry, "default", name, eviction)  # type: ignore[arg-type]
            assert refused.value.code == code
        await it.until(lambda: status(it).get("disruptionsAllowed") == 3, "all may go")
        await it.api.patch(POD_DISRUPTION_BUDGETS, "default", "web", {"spec": {"maxUnavailable": 0}})
        with pytest.raises(ApiError) as early:  # the controller has not looked yet
            await evict(it.registry, "default", name, {})
        assert early.value.status()["details"]["retryAfterSeconds"] == 10


async def test_pods_that_nothing_scales_are_told(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.node()
        await budget(it, minAvailable="50%")
        assert it.events("NoPods")
        await it.make(PODS, "lonely", labels={"app": "web"}, spec=template("web")["spec"])
        await it.until(lambda: it.events("UnmanagedPods"), "somebody has no controller")
        await it.make(DAEMON_SETS, "ds", spec={"selector": chosen("web"), "template": template("web")})
        await it.until(lambda: it.events("CalculateExpectedPodCountFailed"), "a DaemonSet has no scale")
        await it.until(
            lambda: (status(it).get("conditions") or [{}])[0].get("reason") == "SyncFailed", "it says so"
        )
