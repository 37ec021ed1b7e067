"""Does a pod that is more important get the room of others, and only as much as it needs?"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from plane import Plane, chosen, template

from skiff.api import Object
from skiff.controllers.cluster import Cluster, ControllerSettings
from skiff.controllers.pods import tell
from skiff.kinds import PERSISTENT_VOLUME_CLAIMS, POD_DISRUPTION_BUDGETS, PODS, REPLICA_SETS

pytestmark = pytest.mark.finding("issue 7 part 5")


async def pod(it: Plane, name: str, cpu: str = "1", priority: int = 0, **spec: Any) -> Object:
    shape = template(name, container={"resources": {"requests": {"cpu": cpu}}}, priority=priority, **spec)
    return await it.make(PODS, name, labels={"app": name}, spec=shape["spec"])


async def bound(it: Plane, name: str) -> Object:
    found: Object = await it.until(
        lambda: (held := it.get(PODS, name)) and held["spec"].get("nodeName") and held, f"{name} runs"
    )
    return await it.run(found)


async def waits(it: Plane, name: str) -> str:
    def why() -> str:
        listed = ((it.get(PODS, name) or {}).get("status") or {}).get("conditions") or ()
        return next((c.get("message", "") for c in listed if c["type"] == "PodScheduled"), "")

    said: str = await it.until(why, f"{name} is told")
    return said


def leaving(it: Plane) -> set[str]:
    return {one["metadata"]["name"] for one in it.all(PODS) if one["metadata"].get("deletionTimestamp")}


async def test_the_important_pod_gets_the_room_and_nobody_takes_it(tmp_path: Path) -> None:
    async with Plane(tmp_path, bounded=True) as it:
        await it.node()
        shape = template("low", container={"resources": {"requests": {"cpu": "2"}}})
        await it.make(REPLICA_SETS, "low", spec={"replicas": 2, "selector": chosen("low"), "template": shape})
        for one in await it.until(lambda: len(found := it.all(PODS)) == 2 and found, "two"):
            await bound(it, one["metadata"]["name"])
        await pod(it, "high", "2", 100)
        (gone,) = await it.until(lambda: leaving(it), "one has to leave")
        assert "0/1 nodes are available: 1 Insufficient cpu." in it.events("FailedScheduling")
        (told,) = await it.until(lambda: it.events("Preempted"), "told")
        assert told == f"Preempted by pod {(it.get(PODS, 'high') or {})['metadata']['uid']} on node skiff"
        conditions = {c["type"]: c for c in (it.get(PODS, gone) or {})["status"]["conditions"]}
        assert conditions["DisruptionTarget"]["reason"] == "PreemptionByScheduler"
        assert (it.get(PODS, "high") or {})["status"]["nominatedNodeName"] == "skiff"
        await it.until(lambda: len(it.all(PODS)) == 4, "another is made in its place")
        fresh = next(
            p["metadata"]["name"] for p in it.all(PODS)
            if p["metadata"]["name"] != "high" and not p["spec"].get("nodeName")
        )  # fmt: skip
        assert "Insufficient cpu" in await waits(it, fresh)
        await it.gone(it.get(PODS, gone) or {})
        await bound(it, "high")
        assert not (it.get(PODS, fresh) or {})["spec"].get("nodeName"), "the room was kept"
        assert len(it.events("Preempted")) == 1


async def test_as_few_as_possible_leave_and_the_least_important(tmp_path: Path) -> None:
    async with Plane(tmp_path, bounded=True) as it:
        await it.node()
        for name, cpu, priority in (("a", "1", 5), ("b", "1", 1), ("c", "500m", 0), ("d", "1500m", 50)):
            await pod(it, name, cpu, priority)
            await bound(it, name)
        await pod(it, "high", "1", 10)
        await it.until(lambda: leaving(it), "one has to leave")
        assert leaving(it) == {"b"}, "c alone is too small, a more important, d more important than high"


async def test_who_may_not_or_would_win_nothing_sends_nobody_away(tmp_path: Path) -> None:
    async with Plane(tmp_path, bounded=True) as it:
        await it.node()
        for name, priority in (("a", 0), ("b", 20)):
            await pod(it, name, "2", priority)
            await bound(it, name)
        await pod(it, "polite", "1", 100, preemptionPolicy="Never")
        assert "preemption: not eligible due to preemptionPolicy=Never." in await waits(it, "polite")
        for name, cpu, priority in (("large", "3", 10), ("huge", "5", 1000), ("equal", "1", 0)):
            await pod(it, name, cpu, priority)
            assert "No preemption victims found for incoming pod" in await waits(it, name)
        await pod(it, "picky", "1", 100, nodeSelector={"no": "where"})
        assert "Preemption is not helpful for scheduling" in await waits(it, "picky")
        assert not leaving(it)
        assert sorted(p["metadata"]["name"] for p in it.all(PODS) if p["spec"].get("nodeName")) == ["a", "b"]


async def test_a_budget_protects_where_others_can_go(tmp_path: Path) -> None:
    async with Plane(tmp_path, bounded=True) as it:
        await it.node()
        for name, priority in (("kept", 1), ("free", 2)):
            await pod(it, name, "2", priority)
            await bound(it, name)
        await it.make(POD_DISRUPTION_BUDGETS, "kept", spec={"minAvailable": 1, "selector": chosen("kept")})
        await it.until(
            lambda: (it.get(POD_DISRUPTION_BUDGETS, "kept") or {}).get("status", {}).get("currentHealthy") == 1, "counted"
        )  # fmt: skip
        await pod(it, "high", "1", 10)
        await it.until(lambda: leaving(it), "one has to leave")
        assert leaving(it) == {"free"}


async def test_ports_and_the_number_of_pods_count_without_a_size(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.node(pods="2")
        door = {"ports": [{"containerPort": 80, "hostPort": 80}]}
        await it.make(PODS, "low", spec=template("low", container=door)["spec"])
        await pod(it, "other", "100", 5)
        for name in ("low", "other"):
            await bound(it, name)
        await pod(it, "third", "1")
        assert "Too many pods" in await waits(it, "third")
        await it.make(PODS, "high", spec=template("high", container=door, priority=1)["spec"])
        await it.until(lambda: leaving(it) == {"low"}, "its port and its place")


async def test_one_pod_at_a_time_uses_a_claim_of_that_mode(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.node()
        wish = {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "1Gi"}}}
        await it.make(PERSISTENT_VOLUME_CLAIMS, "c", spec=wish)
        volume = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}
        await pod(it, "a", **volume)
        first = await bound(it, "a")
        await pod(it, "b", **volume)
        said = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
        assert said in await waits(it, "b")
        await it.gone(first)
        await bound(it, "b")
        await pod(it, "urgent", priority=1, **volume)
        await it.until(lambda: leaving(it) == {"b"}, "the less important one leaves")


async def test_hundreds_that_want_too_much_cost_little(tmp_path: Path) -> None:
    async with Plane(tmp_path, bounded=True) as it:
        await it.node(cpu="100")
        for number in range(100):
            await pod(it, f"low{number}")
        await it.until(lambda: sum(bool(p["spec"].get("nodeName")) for p in it.all(PODS)) == 100, "they run")
        for number in range(300):
            await pod(it, f"high{number}", "200", 10)
        await it.until(lambda: len(it.events("FailedScheduling")) == 300, "all wait", seconds=120)
        again = time.process_time()
        for _ in range(10):  # each wakes all of them
            (gone,) = [p for p in it.all(PODS) if p["spec"].get("nodeName")][:1]
            await it.gone(gone)
            await asyncio.sleep(0.05)
        assert time.process_time() - again < 4
        assert not it.events("Preempted")


async def test_no_condition_is_lost_when_several_write(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        made = await pod(it, "a", nodeName="elsewhere")
        cluster = Cluster(it.api, ControllerSettings("skiff", "a CA"))
        types = {"example.com/a", "example.com/b", "example.com/c"}
        await asyncio.gather(*(tell(cluster, made, {"type": one, "status": "True"}) for one in types))
        assert {c["type"] for c in (it.get(PODS, "a") or {})["status"]["conditions"]} >= types
