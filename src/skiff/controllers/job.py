"""Has a Job's work been done, must more be begun, or is it time to give up?"""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import NamedTuple

from skiff import objects
from skiff.api import Object
from skiff.controllers import job_indexes
from skiff.controllers import job_rules as rules
from skiff.controllers import pods as pod_questions
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.job_indexes import Indexes
from skiff.controllers.queue import Key
from skiff.kinds import JOBS, PODS
from skiff.objects import now, parsed, stamp

_SOURCE = "job-controller"


class Tally(NamedTuple):
    """How far a Job is."""

    counts: Object  # of its status
    living: list[Object]
    leaving: list[Object]  # asked to end, and not ended
    indexes: set[int]  # that are done
    doomed: str  # why no more may be tried
    failed: Indexes  # of those that have a limit of their own


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
        found = objects.condition(job, type_)
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
    tally = _tally(job, pods, moment)
    begun = parsed(status.get("startTime")) or moment
    counts = {**tally.counts, "startTime": stamp(begun)}
    verdict = _verdict(job, pods, tally, (moment - begun).total_seconds())
    if verdict is not None:
        await _end(cluster, job, tally.living, counts, verdict, moment)
        return None
    counts |= _rest(job, moment)
    if spec.get("suspend"):
        await pod_questions.delete_pods(cluster, job, tally.living, _SOURCE)
    else:
        counts["active"] = await _scale(cluster, job, pods, tally, moment)
    await cluster.status(JOBS, job, counts)
    waits = _waits(job, pods, tally, moment)
    if spec.get("activeDeadlineSeconds") is not None:
        waits.append(spec["activeDeadlineSeconds"] - (moment - begun).total_seconds())
    later = [it for it in waits if it > 0]
    return min(later) + 0.05 if later else None


def _tally(job: Object, pods: list[Object], moment: datetime) -> Tally:
    """Pods that were cleaned away still count: no number goes down."""
    status = job.get("status") or {}
    done = [it for it in pods if it.get("status", {}).get("phase") == "Succeeded"]
    ended_badly = [it for it in pods if it.get("status", {}).get("phase") == "Failed"]
    failed, doomed = rules.judged(job, ended_badly)
    living = [it for it in pods if objects.active(it)]
    leaving = [it for it in pods if it["metadata"].get("deletionTimestamp") and not objects.finished(it)]
    counts: Object = {
        "active": len(living), "ready": sum(map(objects.ready, living)), "terminating": len(leaving),
        "succeeded": max(len(done), status.get("succeeded", 0)), "failed": max(len(failed), status.get("failed", 0)),
    }  # fmt: skip
    indexes: set[int] = set()
    if rules.indexed(job):
        completions = int(job["spec"].get("completions") or 0)
        indexes = rules.numbers(status.get("completedIndexes") or "", completions)
        indexes |= {number for it in done if 0 <= (number := rules.number_of(it)) < completions}
        counts |= {"succeeded": len(indexes), "completedIndexes": rules.written(indexes)}
    own = job_indexes.of(job, ended_badly, moment)
    own = own._replace(spent=own.spent - indexes)
    if job_indexes.limited(job):
        counts["failedIndexes"] = rules.written(own.spent)
    return Tally(counts, living, leaving, indexes, doomed, own)


def _rest(job: Object, moment: datetime) -> Object:
    """The condition of a Job that rests, or rested; the time of rest does not count."""
    held, resting = objects.condition(job, "Suspended"), bool(job["spec"].get("suspend"))
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


def _verdict(job: Object, pods: list[Object], tally: Tally, age_s: float) -> tuple[str, str, str] | None:
    """(condition, reason, message) once the Job is over."""
    spec, succeeded = job["spec"], tally.counts["succeeded"]
    completions = spec.get("completions")
    if tally.doomed:
        return ("Failed", "PodFailurePolicy", tally.doomed)
    if tally.counts["failed"] + _restarts(pods) > spec.get("backoffLimit", 6):
        return ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if spec.get("activeDeadlineSeconds") is not None and age_s >= spec["activeDeadlineSeconds"]:
        return ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    if job_indexes.limited(job) and (found := job_indexes.verdict(job, tally.indexes, tally.failed.spent)):
        return found
    if (rule := rules.succeeded_by_policy(job, tally.indexes)) is not None:
        return ("Complete", "SuccessPolicy", f"Matched rules at index {rule}")
    enough = succeeded >= completions if completions is not None else succeeded and not tally.living
    if enough:
        return ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


async def _scale(cluster: Cluster, job: Object, pods: list[Object], tally: Tally, moment: datetime) -> int:
    spec, living = job["spec"], tally.living
    parallelism, succeeded = int(spec.get("parallelism", 1)), tally.counts["succeeded"]
    completions: int | None = spec.get("completions")
    if completions is not None:
        wanted = min(parallelism, completions - succeeded - len(tally.failed.spent))
    else:
        wanted = len(living) if succeeded else parallelism
    # By this policy a pod that is ending holds its place until it has ended.
    patient = spec.get("podReplacementPolicy") == "Failed" or job_indexes.limited(job)
    held = len(tally.leaving) if patient else 0
    missing = wanted - len(living) - held
    if missing < 0:
        leaving = pod_questions.dismissal_order(living)[: min(-missing, len(living) - max(wanted, 0))]
        await pod_questions.delete_pods(cluster, job, leaving, _SOURCE)
        return len(living) - len(leaving)
    if missing == 0:
        return len(living)
    if not job_indexes.limited(job) and _backoff(pods, moment) > 0:
        return len(living)
    new = _new_pods(job, tally, missing)
    await pod_questions.create_pods(cluster, job, new, _SOURCE)
    return len(living) + min(len(new), pod_questions.BURST)


def _new_pods(job: Object, tally: Tally, count: int) -> list[Object]:
    name, template = job["metadata"]["name"], job["spec"].get("template") or {}
    labels = {"batch.kubernetes.io/job-name": name, "job-name": name}
    if not rules.indexed(job):
        return [pod_questions.pod_of(JOBS, job, template, labels=labels) for _ in range(count)]
    taken = {rules.number_of(it) for it in (*tally.living, *tally.leaving)} | tally.indexes
    taken |= tally.failed.spent | set(tally.failed.waits)
    free = (
        it
        for it in range(min(int(job["spec"].get("completions") or 0), rules.MOST_INDEXES))
        if it not in taken
    )
    made = [_numbered(job, template, labels, number) for number in itertools.islice(free, count)]
    for it in made if job_indexes.limited(job) else ():
        failures = tally.failed.failures.get(rules.number_of(it), 0)
        it["metadata"]["annotations"][job_indexes.FAILURES] = str(failures)
    return made


def _numbered(job: Object, template: Object, labels: dict[str, str], number: int) -> Object:
    """A pod of an Indexed Job: its number is in its name, its hostname and its environment."""
    pod = pod_questions.pod_of(JOBS, job, template, labels={**labels, rules.INDEX: str(number)})
    named = f"{job['metadata']['name']}-{number}"
    pod["metadata"] |= {"generateName": f"{named}-"}
    pod["metadata"]["annotations"][rules.INDEX] = str(number)
    pod["spec"].setdefault("hostname", named)
    entry = {
        "name": "JOB_COMPLETION_INDEX",
        "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{rules.INDEX}']"}},
    }
    for part in ("initContainers", "containers"):
        for it in pod["spec"].get(part) or ():
            if not any(held.get("name") == entry["name"] for held in it.get("env") or ()):
                it["env"] = [*(it.get("env") or ()), entry]
    return pod


def _waits(job: Object, pods: list[Object], tally: Tally, moment: datetime) -> list[float]:
    """Seconds until pods may follow those that failed."""
    return list(tally.failed.waits.values()) if job_indexes.limited(job) else [_backoff(pods, moment)]


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
