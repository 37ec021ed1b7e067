"""Has a Job's work been done, must more be begun, or is it time to give up?"""

from __future__ import annotations

from datetime import datetime

from skiff.api import Object
from skiff.controllers import pods as pod_questions
from skiff.controllers.cluster import Cluster, Controller, now, parsed, stamp
from skiff.controllers.queue import Key
from skiff.kinds import JOBS, PODS

_SOURCE = "job-controller"


def controller(cluster: Cluster) -> Controller:
    """Jobs, woken by their pods."""

    async def reconcile(key: Key) -> float | None:
        found = cluster.informers[JOBS].get(*key)
        return None if found is None else await _reconcile(cluster, found)

    it = Controller("job", reconcile)
    it.follow(cluster, JOBS)
    it.follow_owned(cluster, PODS, JOBS)
    return it


def ended(job: Object) -> Object | None:
    """The condition Complete or Failed of a Job that is over."""
    for type_ in ("Complete", "Failed"):
        found = pod_questions.condition(job, type_)
        if found is not None and found.get("status") == "True":
            return found
    return None


async def _reconcile(cluster: Cluster, job: Object) -> float | None:
    if job["metadata"].get("deletionTimestamp"):
        return None
    moment = now()
    over = ended(job)
    if over is not None:
        return await _expire(cluster, job, over, moment)
    spec = job["spec"]
    status = job.get("status") or {}
    pods = await pod_questions.claimed(cluster, JOBS, job)
    done = [it for it in pods if it.get("status", {}).get("phase") == "Succeeded"]
    failed = [it for it in pods if it.get("status", {}).get("phase") == "Failed"]
    living = [it for it in pods if pod_questions.active(it)]
    begun = parsed(status.get("startTime")) or moment
    # Pods that were cleaned away still count: a count never goes down.
    counts = {
        "active": len(living), "ready": sum(map(pod_questions.ready, living)),
        "succeeded": max(len(done), status.get("succeeded", 0)), "failed": max(len(failed), status.get("failed", 0)),
        "startTime": stamp(begun),
    }  # fmt: skip
    verdict = _verdict(
        job, pods, counts["succeeded"], counts["failed"], len(living), (moment - begun).total_seconds()
    )
    if verdict is not None:
        await _end(cluster, job, living, counts, verdict, moment)
        return None
    counts |= _rest(job, moment)
    if spec.get("suspend"):
        await pod_questions.delete_pods(cluster, job, living, _SOURCE)
    else:
        counts["active"] = await _scale(cluster, job, pods, living, counts["succeeded"], moment)
    await cluster.status(JOBS, job, counts)
    waits = [_backoff(pods, moment)]
    if spec.get("activeDeadlineSeconds") is not None:
        waits.append(spec["activeDeadlineSeconds"] - (moment - begun).total_seconds())
    later = [it for it in waits if it > 0]
    return min(later) + 0.05 if later else None


def _rest(job: Object, moment: datetime) -> Object:
    """The condition of a Job that rests, or rested; the time of rest does not count."""
    held, resting = pod_questions.condition(job, "Suspended"), bool(job["spec"].get("suspend"))
    rested = held is not None and held.get("status") == "True"
    if resting == rested:
        return {"startTime": None} if resting else {}
    word, said = ("JobSuspended", "Job suspended") if resting else ("JobResumed", "Job resumed")
    told = {
        "type": "Suspended", "status": str(resting), "reason": word, "message": said,
        "lastProbeTime": stamp(moment), "lastTransitionTime": stamp(moment),
    }  # fmt: skip
    others = [it for it in (job.get("status") or {}).get("conditions") or () if it.get("type") != "Suspended"]
    return {"conditions": [*others, told], "startTime": None if resting else stamp(moment)}


def _restarts(pods: list[Object]) -> int:
    return sum(
        it.get("restartCount", 0)
        for pod in pods
        if pod["spec"].get("restartPolicy") == "OnFailure"
        for it in (pod.get("status") or {}).get("containerStatuses") or ()
    )


def _verdict(
    job: Object, pods: list[Object], succeeded: int, failed: int, living: int, age_s: float
) -> tuple[str, str, str] | None:
    """(condition, reason, message) once the Job is over."""
    spec = job["spec"]
    completions = spec.get("completions")
    if failed + _restarts(pods) > spec.get("backoffLimit", 6):
        return ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if spec.get("activeDeadlineSeconds") is not None and age_s >= spec["activeDeadlineSeconds"]:
        return ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    if completions is None and succeeded and not living:
        return ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    if completions is not None and succeeded >= completions:
        return ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


async def _scale(
    cluster: Cluster, job: Object, pods: list[Object], living: list[Object], succeeded: int, moment: datetime
) -> int:
    spec = job["spec"]
    parallelism = int(spec.get("parallelism", 1))
    completions: int | None = spec.get("completions")
    if completions is not None:
        wanted = min(parallelism, completions - succeeded)
    else:
        wanted = len(living) if succeeded else parallelism
    missing = wanted - len(living)
    if missing < 0:
        leaving = pod_questions.dismissal_order(living)[:-missing]
        await pod_questions.delete_pods(cluster, job, leaving, _SOURCE)
        return wanted
    if missing == 0:
        return len(living)
    if _backoff(pods, moment) > 0:
        return len(living)
    template = spec.get("template") or {}
    labels = {"batch.kubernetes.io/job-name": job["metadata"]["name"], "job-name": job["metadata"]["name"]}
    new = [pod_questions.pod_of(JOBS, job, template, labels=labels) for _ in range(missing)]
    await pod_questions.create_pods(cluster, job, new, _SOURCE)
    return wanted


def _backoff(pods: list[Object], moment: datetime) -> float:
    """Seconds until a new pod may follow a failed one: 10 s, doubled each time, at most six minutes."""
    failed = [it for it in pods if it.get("status", {}).get("phase") == "Failed"]
    ends = [
        parsed((state.get("state") or {}).get("terminated", {}).get("finishedAt"))
        for pod in failed
        for state in (pod.get("status") or {}).get("containerStatuses") or ()
    ]
    last = max((it for it in ends if it is not None), default=None)
    return (
        0.0 if last is None else min(360.0, 10.0 * 2 ** (len(failed) - 1)) - (moment - last).total_seconds()
    )


async def _end(
    cluster: Cluster,
    job: Object,
    living: list[Object],
    counts: Object,
    verdict: tuple[str, str, str],
    moment: datetime,
) -> None:
    type_, reason, message = verdict
    await pod_questions.delete_pods(cluster, job, living, _SOURCE)
    told = [
        {
            "type": it, "status": "True", "reason": reason, "message": message,
            "lastProbeTime": stamp(moment), "lastTransitionTime": stamp(moment),
        }
        for it in (("SuccessCriteriaMet" if type_ == "Complete" else "FailureTarget"), type_)
    ]  # fmt: skip
    finish = {"completionTime": stamp(moment)} if type_ == "Complete" else {}
    told = [*((job.get("status") or {}).get("conditions") or ()), *told]
    await cluster.status(JOBS, job, {**counts, **finish, "active": 0, "ready": 0, "conditions": told})
    kind, word = ("Normal", "Completed") if type_ == "Complete" else ("Warning", reason)
    await cluster.event(job, kind, word, "Job completed" if type_ == "Complete" else message, _SOURCE)


async def _expire(cluster: Cluster, job: Object, over: Object, moment: datetime) -> float | None:
    limit = job["spec"].get("ttlSecondsAfterFinished")
    since = parsed(over.get("lastTransitionTime"))
    if limit is None or since is None:
        return None
    left = float(limit - (moment - since).total_seconds())
    if left > 0:
        return left + 0.05
    await cluster.delete(JOBS, job)
    return None
