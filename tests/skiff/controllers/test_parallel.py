"""Does a StatefulSet whose pods are managed in parallel still replace them one by one? Only scaling is parallel."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from plane import Plane, chosen, template

from skiff.api import Object
from skiff.kinds import PODS, STATEFUL_SETS


@pytest.mark.finding("mesh M7")
async def test_an_update_takes_one_pod_at_a_time(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        spec = {
            "replicas": 3,
            "selector": chosen("db"),
            "serviceName": "db",
            "podManagementPolicy": "Parallel",
        }
        await it.make(STATEFUL_SETS, "db", spec={**spec, "template": template("db")})
        await it.until(lambda: len(it.all(PODS)) == 3, "all at once")
        for pod in it.all(PODS):
            await it.run(pod)

        def ending() -> list[str]:
            return [p["metadata"]["name"] for p in it.all(PODS) if p["metadata"].get("deletionTimestamp")]

        def fresh(name: str, uid: str) -> Object | None:
            found = it.get(PODS, name)
            return found if found and found["metadata"]["uid"] != uid else None

        changed = {"spec": {"template": template("db", terminationGracePeriodSeconds=1)}}
        await it.api.patch(STATEFUL_SETS, "default", "db", changed)
        for name in ("db-2", "db-1", "db-0"):
            await it.until(ending, "the next is deleted")
            assert ending() == [name]
            before = it.get(PODS, name)
            assert before
            await it.gone(before)
            made = await it.until(
                lambda name=name, uid=before["metadata"]["uid"]: fresh(name, uid), "it is made anew"
            )
            for _ in range(20):  # the controller has every chance to go on too early
                await asyncio.sleep(0.01)
                assert ending() == []
            await it.run(made)
        await it.until(
            lambda: it.get(STATEFUL_SETS, "db")["status"].get("updatedReplicas") == 3, "all are new"
        )
