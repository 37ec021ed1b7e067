"""Which numbers of an Indexed Job are done, and what do a Job's policies say of how its pods ended? Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from skiff.api import Object
from skiff.objects import key_of

INDEX = "batch.kubernetes.io/job-completion-index"
#: No Indexed Job has more in Kubernetes, either.
MOST_INDEXES = 100_000


def indexed(job: Object) -> bool:
    """Whether each pod has a number."""
    return bool(job["spec"].get("completionMode") == "Indexed")


def number_of(pod: Object) -> int:
    """The pod's number; -1 when it has none."""
    said = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else -1


def spans(text: str) -> list[tuple[int, int]]:
    """``1-3,5`` as (first, last); what is no number is left out."""
    found = []
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if all(it.isascii() and it.isdigit() and len(it) < 10 for it in (first, last)):
            found.append((int(first), int(last)))
    return found


def numbers(text: str, limit: int) -> set[int]:
    """The numbers of ``1-3,5`` below a limit."""
    limit = min(limit, MOST_INDEXES)
    return {it for first, last in spans(text) for it in range(first, min(last + 1, limit))}


def written(done: Iterable[int]) -> str:
    """The shortest form, as in ``status.completedIndexes``."""
    groups: list[list[int]] = []
    for it in sorted(done):
        if groups and groups[-1][1] == it - 1:
            groups[-1][1] = it
        else:
            groups.append([it, it])
    # Kubernetes writes two neighbours as "1,2", three as "1-3".
    return ",".join(str(a) if a == b else f"{a},{b}" if b == a + 1 else f"{a}-{b}" for a, b in groups)


def succeeded_by_policy(job: Object, done: set[int]) -> int | None:
    """The first rule of ``successPolicy`` that is met."""
    for place, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or ()):
        said = rule.get("succeededIndexes")
        wanted = spans(said) if said else [(0, int(job["spec"].get("completions") or 0) - 1)]
        met = sum(any(first <= it <= last for first, last in wanted) for it in done)
        if met >= int(rule.get("succeededCount") or sum(last - first + 1 for first, last in wanted)):
            return place
    return None


def judged(job: Object, failed: Sequence[Object]) -> tuple[list[Object], str]:
    """(the failed pods that count, why the whole Job has failed) by ``podFailurePolicy``."""
    counted: list[Object] = []
    for pod in failed:
        what, why = action(job, pod)
        if what == "FailJob":
            return counted, why
        if what != "Ignore":
            counted.append(pod)
    return counted, ""


def action(job: Object, pod: Object) -> tuple[str, str]:
    """(what ``podFailurePolicy`` does about a pod that failed, why)."""
    for place, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        if why := _matched(rule, pod):
            what = str(rule.get("action"))
            return what, f"{why} matching {what} rule at index {place}"
    return "Count", ""


def _matched(rule: Object, pod: Object) -> str:
    """What of the pod the rule is about; "" when it is not about it."""
    status, full = pod.get("status") or {}, "/".join(key_of(pod))
    if codes := rule.get("onExitCodes"):
        for it in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
            code = ((it.get("state") or {}).get("terminated") or {}).get("exitCode", 0)
            named = codes.get("containerName") in (None, "", it.get("name"))
            if code and named and (code in (codes.get("values") or ())) == (codes.get("operator") == "In"):
                return f"Container {it.get('name')} for pod {full} failed with exit code {code}"
    for wish in rule.get("onPodConditions") or ():
        for it in status.get("conditions") or ():
            if it.get("type") == wish.get("type") and it.get("status") == wish.get("status", "True"):
                return f"Pod {full} has condition {it.get('type')}"
    return ""
