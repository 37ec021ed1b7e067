"""Which numbers of an Indexed Job have failed for good, and when may the others be tried again? Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#backoff-limit-per-index
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from skiff.api import Object
from skiff.controllers import job_rules as rules
from skiff.objects import parsed

#: Of a pod: how often its number had failed before.
FAILURES = "batch.kubernetes.io/job-index-failure-count"
_FIRST_S, _LONGEST_S = 10.0, 600.0


class Indexes(NamedTuple):
    """What failures have become of the numbers; all empty when they are counted for the whole Job."""

    spent: set[int]  # that are not tried again
    failures: dict[int, int]
    waits: dict[int, float]  # seconds until a number may be tried again


NONE = Indexes(set(), {}, {})


def limited(job: Object) -> bool:
    """Whether each number has a limit of its own."""
    return job["spec"].get("backoffLimitPerIndex") is not None and rules.indexed(job)


def of(job: Object, failed: Iterable[Object], moment: datetime) -> Indexes:
    """By the pods that failed; numbers that are spent stay so when their pods are gone."""
    if not limited(job):
        return NONE
    limit = int(job["spec"]["backoffLimitPerIndex"])
    completions = int(job["spec"].get("completions") or 0)
    spent = rules.numbers((job.get("status") or {}).get("failedIndexes") or "", completions)
    failures: dict[int, int] = {}
    last: dict[int, datetime] = {}
    for pod in failed:
        number, action = rules.number_of(pod), rules.action(job, pod)[0]
        if not 0 <= number < completions:
            continue
        before = _before(pod)
        count = before + (action != "Ignore")
        failures[number] = max(failures.get(number, 0), count)
        if action == "FailIndex" or count > limit:
            spent.add(number)
        ended = [it for it in map(parsed, _ends(pod)) if it is not None]
        if ended and count > before:
            last[number] = max([*ended, *((last[number],) if number in last else ())])
    waits = {}
    for number, since in last.items():
        pause = min(_LONGEST_S, _FIRST_S * 2 ** min(failures[number] - 1, 10))
        if (left := pause - (moment - since).total_seconds()) > 0 and number not in spent:
            waits[number] = left
    return Indexes(spent, failures, waits)


def _before(pod: Object) -> int:
    said = (pod["metadata"].get("annotations") or {}).get(FAILURES, "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0


def _ends(pod: Object) -> list[str | None]:
    return [
        ((it.get("state") or {}).get("terminated") or {}).get("finishedAt")
        for it in (pod.get("status") or {}).get("containerStatuses") or ()
    ]


def verdict(job: Object, done: set[int], spent: set[int]) -> tuple[str, str, str] | None:
    """(condition, reason, message) once its failed numbers end the Job."""
    most = job["spec"].get("maxFailedIndexes")
    if most is not None and len(spent) > most:
        said = "Job has exceeded the specified maximal number of failed indexes"
        return ("Failed", "MaxFailedIndexesExceeded", said)
    if spent and len(done) + len(spent) >= int(job["spec"].get("completions") or 0):
        return ("Failed", "FailedIndexes", "Job has failed indexes")
    return None
