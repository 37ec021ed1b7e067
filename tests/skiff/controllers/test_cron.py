"""Are schedules understood as Kubernetes does, and do CronJobs begin, keep and forget their Jobs?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from plane import Plane, template

from skiff.api import Object
from skiff.kinds import CRON_JOBS, JOBS, PODS
from skiff.schedules import Schedule

pytestmark = pytest.mark.finding("issue 7 part 5")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("schedule", ["* * * * *", "*/7 3 * * *", "0 0 1 1 *", "0 12 * * 1-5", "@every 45m"])
def test_the_latest_time_is_that_of_walking_there(schedule: str) -> None:
    parsed, since, end = Schedule.parse(schedule), at("2026-01-01 00:00"), at("2026-01-20 10:33")
    walked = None
    while (following := parsed.after(walked or since)) is not None and following <= end:
        walked = following
    assert parsed.latest(since, end) == walked
    assert parsed.latest(at("2026-01-20 10:32:58"), at("2026-01-20 10:32:59")) is None


def job(script_time: str = "* * * * *", **spec: Any) -> Object:
    shape = template("tick", restartPolicy="Never")
    return {
        "schedule": script_time,
        "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": shape}},
        **spec,
    }


async def missed(it: Plane, name: str, minutes: float = 1.5, **spec: Any) -> Object:
    """A CronJob whose time came a while ago: it is suspended until its status says when it ran last."""
    schedule = spec.pop("schedule", "* * * * *")
    await it.make(CRON_JOBS, name, spec=job(schedule, suspend=True, **spec))
    last = (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await it.api.patch(
        CRON_JOBS, "default", name, {"status": {"lastScheduleTime": last}}, subresource="status"
    )
    return await it.api.patch(CRON_JOBS, "default", name, {"spec": {"suspend": False}})


async def test_a_job_is_made_kept_and_forgotten(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await missed(it, "tick", successfulJobsHistoryLimit=0)
        made = (await it.until(lambda: it.all(JOBS), "its Job"))[0]
        owner = it.get(CRON_JOBS, "tick") or {}
        minutes = datetime.fromisoformat(
            made["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
        )
        assert made["metadata"]["name"] == f"tick-{int(minutes.timestamp()) // 60}"
        assert made["metadata"]["labels"] == {"a": "b"}
        assert made["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
        await it.until(lambda: (it.get(CRON_JOBS, "tick") or {})["status"].get("active"), "its status")
        assert f"Created job {made['metadata']['name']}" in it.events("SuccessfulCreate")
        pod = (await it.until(lambda: it.all(PODS), "its pod"))[0]
        await it.finish(pod)
        await it.until(
            lambda: not any(j["metadata"]["uid"] == made["metadata"]["uid"] for j in it.all(JOBS)),
            "forgotten",
        )
        assert it.events("SawCompletedJob")[0].endswith("condition: Complete")
        await it.until(
            lambda: (it.get(CRON_JOBS, "tick") or {})["status"].get("lastSuccessfulTime"), "when it went well"
        )


@pytest.mark.parametrize(
    ("policy", "told"), [("Forbid", "JobAlreadyActive"), ("Replace", "SuccessfulDelete")]
)
async def test_what_happens_while_one_runs(tmp_path: Path, policy: str, told: str) -> None:
    async with Plane(tmp_path) as it:
        owner = await it.make(CRON_JOBS, "tick", spec=job(suspend=True, concurrencyPolicy=policy))
        reference = {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "name": "tick",
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }
        spec = {"template": template("first", restartPolicy="Never")}
        first = await it.make(JOBS, "first", ownerReferences=[reference], spec=spec)
        last = (datetime.now(UTC) - timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
        active = [{"kind": "Job", "name": "first", "namespace": "default", "uid": first["metadata"]["uid"]}]
        status = {"lastScheduleTime": last, "active": active}
        await it.api.patch(CRON_JOBS, "default", "tick", {"status": status}, subresource="status")
        await it.api.patch(CRON_JOBS, "default", "tick", {"spec": {"suspend": False}})
        await it.until(lambda: it.events(told), "told")
        if policy == "Forbid":
            assert len(it.all(JOBS)) == 1
        else:
            await it.until(lambda: not it.get(JOBS, "first") and it.all(JOBS), "another takes its place")


@pytest.mark.finding("skiff 3")
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"schedule": "99 * * * *"}, "UnparseableSchedule"), ({"schedule": "59 23 31 2 *"}, "InvalidSchedule"),
        ({"timeZone": "Mars/Olympus"}, "UnknownTimeZone"), ({"timeZone": "../../etc/passwd"}, "UnknownTimeZone"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_told(tmp_path: Path, wrong: Object, reason: str) -> None:
    """However it came into the store: what is checked when it is written is checked elsewhere."""
    async with Plane(tmp_path) as it:
        made = await it.make(CRON_JOBS, "odd", spec=job("0 0 29 2 *"))
        it.registry.store.put(CRON_JOBS.storage, {**made, "spec": {**made["spec"], **wrong}})
        await it.until(lambda: it.events(reason), "the event")
        assert not it.all(JOBS)


async def test_too_late_is_too_late(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await missed(it, "late", minutes=9000, schedule="* * * * *")
        await it.until(lambda: it.events("TooManyMissedTimes"), "it missed many")
        await it.until(lambda: len(it.all(JOBS)) == 1, "and begins one")
        hour = (datetime.now(UTC).hour - 2) % 24
        await missed(it, "never", minutes=600, schedule=f"0 {hour} * * *", startingDeadlineSeconds=60)
        await missed(it, "after")  # by the same worker, so the one before has been looked at
        await it.until(
            lambda: any(j["metadata"]["name"].startswith("after-") for j in it.all(JOBS)), "the next"
        )
        assert not any(j["metadata"]["name"].startswith("never") for j in it.all(JOBS))
