"""Is it time for a CronJob's next Job, and how many of the old ones are kept?

https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/
"""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any
from zoneinfo import ZoneInfo

from skiff.api import Object
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.job import ended
from skiff.controllers.pods import owner_reference
from skiff.controllers.queue import Key
from skiff.errors import ApiError
from skiff.kinds import CRON_JOBS, JOBS
from skiff.objects import controller_of, copied, now, parsed, stamp
from skiff.schedules import Schedule

_SOURCE = "cronjob-controller"
_MANY = 100


def controller(cluster: Cluster) -> Controller:
    """CronJobs, woken by their Jobs and by the clock."""

    async def reconcile(key: Key) -> float | None:
        found = cluster.informers[CRON_JOBS].get(*key)
        return None if found is None else await _reconcile(cluster, found)

    it = Controller("cronjob", reconcile, workers=1)
    it.follow(cluster, CRON_JOBS)
    it.follow_owned(cluster, JOBS, CRON_JOBS)
    return it


async def _reconcile(cluster: Cluster, owner: Object) -> float | None:
    uid = owner["metadata"]["uid"]
    jobs = [it for it in cluster.informers[JOBS].owned(owner) if (controller_of(it) or {}).get("uid") == uid]
    status = await _looked_at(cluster, owner, jobs)
    if owner["metadata"].get("deletionTimestamp"):
        return None
    await _forget(cluster, owner, jobs)
    again = await _due(cluster, owner, status, jobs)
    await cluster.status(CRON_JOBS, owner, status)
    return again


async def _looked_at(cluster: Cluster, owner: Object, jobs: list[Object]) -> dict[str, Any]:
    """The status after what became of its Jobs."""
    held = owner.get("status") or {}
    by_uid = {it["metadata"]["uid"]: it for it in jobs}
    active, success = [], parsed(held.get("lastSuccessfulTime"))
    for reference in held.get("active") or ():
        job = by_uid.pop(reference.get("uid"), None) or await _asked(cluster, owner, reference)
        over = ended(job) if job is not None else None
        if job is None:
            said = f"Active job went missing: {reference.get('name')}"
            await cluster.event(owner, "Normal", "MissingJob", said, _SOURCE)
        elif over is None:
            active.append(reference)
        else:
            said = f"Saw completed job: {reference.get('name')}, condition: {over['type']}"
            await cluster.event(owner, "Normal", "SawCompletedJob", said, _SOURCE)
    for job in by_uid.values():
        if ended(job) is None and not job["metadata"].get("deletionTimestamp"):
            said = f"Saw a job that the controller did not create or forgot: {job['metadata']['name']}"
            await cluster.event(owner, "Warning", "UnexpectedJob", said, _SOURCE)
    done = [parsed((it.get("status") or {}).get("completionTime")) for it in jobs]
    last = max((it for it in (success, *done) if it is not None), default=None)
    return {
        "active": active or None, "lastScheduleTime": held.get("lastScheduleTime"),
        "lastSuccessfulTime": stamp(last) if last else None,
    }  # fmt: skip


async def _asked(cluster: Cluster, owner: Object, reference: Object) -> Object | None:
    """The cache may not have heard of the Job yet."""
    try:
        return await cluster.api.get(JOBS, owner["metadata"]["namespace"], str(reference.get("name", "")))
    except ApiError as gone:
        if gone.code == 404:
            return None
        raise


async def _forget(cluster: Cluster, owner: Object, jobs: list[Object]) -> None:
    """Old Jobs beyond those to be kept, the oldest first."""
    for type_, field, usual in (
        ("Complete", "successfulJobsHistoryLimit", 3), ("Failed", "failedJobsHistoryLimit", 1),
    ):  # fmt: skip
        over = [
            it
            for it in jobs
            if (ended(it) or {}).get("type") == type_ and not it["metadata"].get("deletionTimestamp")
        ]
        over.sort(key=lambda it: ((it.get("status") or {}).get("startTime") or "", it["metadata"]["name"]))
        for job in over[: max(0, len(over) - int(owner["spec"].get(field, usual)))]:
            await cluster.delete(JOBS, job)
            said = f"Deleted job {job['metadata']['name']}"
            await cluster.event(owner, "Normal", "SuccessfulDelete", said, _SOURCE)


async def _due(cluster: Cluster, owner: Object, status: dict[str, Any], jobs: list[Object]) -> float | None:
    """Begin the Job whose time has come; seconds until the next."""
    spec, moment = owner["spec"], now()
    schedule = await _understood(cluster, owner)
    if schedule is None or spec.get("suspend"):
        return None
    since = parsed(status["lastScheduleTime"] or owner["metadata"]["creationTimestamp"]) or moment
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None:
        since = max(since, moment - timedelta(seconds=deadline))
    first = schedule.after(since)
    second = schedule.after(first) if first else None
    if first is None or second is None:
        said = f"invalid schedule: {spec['schedule']} : time difference between two schedules is less than 1 second"
        await cluster.event(owner, "Warning", "InvalidSchedule", said, _SOURCE)
        return None
    if (moment - first) / (second - first) > _MANY:
        said = (
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        )
        await cluster.event(owner, "Warning", "TooManyMissedTimes", said, _SOURCE)
    time = schedule.latest(since, moment)
    if time is not None:
        await _begin(cluster, owner, status, jobs, time)
    following = schedule.after(moment)
    return (following - moment).total_seconds() + 0.05 if following else None


async def _understood(cluster: Cluster, owner: Object) -> Schedule | None:
    """What was stored before anybody checked it may be wrong."""
    text, zone = owner["spec"].get("schedule", ""), owner["spec"].get("timeZone") or ""
    try:
        found = Schedule.parse(text)
    except ValueError as wrong:
        said = f'unparseable schedule: "{text}" : {wrong}'
        await cluster.event(owner, "Warning", "UnparseableSchedule", said, _SOURCE)
        return None
    try:
        return Schedule.parse(text, zone) if zone else found
    except ValueError as wrong:
        await cluster.event(
            owner, "Warning", "UnknownTimeZone", f'invalid timeZone: "{zone}": {wrong}', _SOURCE
        )
        return None


async def _begin(
    cluster: Cluster, owner: Object, status: dict[str, Any], jobs: list[Object], time: datetime
) -> None:
    spec, deadline = owner["spec"], owner["spec"].get("startingDeadlineSeconds")
    if deadline is not None and time + timedelta(seconds=deadline) < now():
        said = f"Missed scheduled time to start a job: {format_datetime(time)}"
        await cluster.event(owner, "Warning", "MissSchedule", said, _SOURCE)
        return
    policy, active = spec.get("concurrencyPolicy", "Allow"), status["active"] or []
    if policy == "Forbid" and active:
        said = "Not starting job because prior execution is running and concurrency policy is Forbid"
        await cluster.event(owner, "Normal", "JobAlreadyActive", said, _SOURCE)
        return
    name = f"{owner['metadata']['name']}-{int(time.timestamp()) // 60}"
    if any(it["metadata"]["name"] == name for it in jobs):  # begun before this was written down
        status["lastScheduleTime"] = stamp(time)
        return
    for job in jobs if policy == "Replace" else ():
        if any(it.get("uid") == job["metadata"]["uid"] for it in active):
            await cluster.delete(JOBS, job)
            said = f"Deleted job {job['metadata']['name']}"
            await cluster.event(owner, "Normal", "SuccessfulDelete", said, _SOURCE)
            active = [it for it in active if it.get("uid") != job["metadata"]["uid"]]
    try:
        made = await cluster.create(JOBS, _job(owner, name, time))
    except ApiError as refused:
        await cluster.event(owner, "Warning", "FailedCreate", f"Error creating job: {refused}", _SOURCE)
        if refused.reason == "AlreadyExists":  # somebody else's
            return
        raise
    await cluster.event(owner, "Normal", "SuccessfulCreate", f"Created job {name}", _SOURCE)
    metadata = made["metadata"]
    reference = {
        "apiVersion": "batch/v1", "kind": "Job", "name": name, "namespace": metadata["namespace"], "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }  # fmt: skip
    status |= {"active": [*active, reference], "lastScheduleTime": stamp(time)}


def _job(owner: Object, name: str, time: datetime) -> Object:
    template = copied(owner["spec"].get("jobTemplate") or {})
    metadata = template.get("metadata") or {}
    zone = owner["spec"].get("timeZone")
    said = time.astimezone(ZoneInfo(zone)).isoformat() if zone else stamp(time)
    return {
        "metadata": {
            "name": name, "namespace": owner["metadata"]["namespace"], "labels": metadata.get("labels") or {},
            "annotations": {**(metadata.get("annotations") or {}), "batch.kubernetes.io/cronjob-scheduled-timestamp": said},
            "ownerReferences": [owner_reference(CRON_JOBS, owner)],
        },
        "spec": template.get("spec") or {},
    }  # fmt: skip
