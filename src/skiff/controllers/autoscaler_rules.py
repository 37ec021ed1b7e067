"""By how much may a HorizontalPodAutoscaler change the number of replicas, and how soon? Pure: the clock is an argument.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from skiff.api import Object

#: Nobody becomes less sooner than so long after somebody asked for more, unless told otherwise.
STABLE_S = 300
#: As long as a policy may look back, and a window reach.
_LONGEST_S = 3600.0

_WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
_FAST_UP = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_FAST_DOWN = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
_MOST = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
_LEAST = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
_READY = ("ReadyForNewScale", "recommended size matches current size")
_HELD_UP = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
_HELD_DOWN = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)


class Moment(NamedTuple):
    """A number, and when it was so (in seconds of any clock that runs)."""

    at: float
    number: int


@dataclass(slots=True)
class Memory:
    """What one autoscaler remembers; a new daemon begins anew, as a new controller does in Kubernetes."""

    wishes: deque[Moment] = field(default_factory=deque)  # the last moment of each run of equal ones
    added: deque[Moment] = field(default_factory=deque)
    taken: deque[Moment] = field(default_factory=deque)

    def wished(self, number: int, at: float) -> None:
        """Note what the metrics asked for."""
        if self.wishes and self.wishes[-1].number == number:
            self.wishes.pop()
        _note(self.wishes, Moment(at, number))

    def scaled(self, before: int, after: int, at: float) -> None:
        """Note what was done."""
        if after != before:
            _note(self.added if after > before else self.taken, Moment(at, abs(after - before)))


class Limits(NamedTuple):
    """What an object says: the bounds, and its behavior."""

    least: int
    most: int
    behavior: Object | None


class Verdict(NamedTuple):
    """How many it may be: (reason, message) of AbleToScale and of ScalingLimited, and whether it is limited."""

    replicas: int
    able: tuple[str, str]
    limited: bool
    why: tuple[str, str]


def _note(moments: deque[Moment], new: Moment) -> None:
    moments.append(new)
    while moments[0].at < new.at - _LONGEST_S:
        moments.popleft()


def verdict(limits: Limits, memory: Memory, current: int, wish: int, at: float) -> Verdict:
    """What becomes of a wish, which is noted."""
    stable = _stabilized(limits.behavior, memory, current, wish, at)
    memory.wished(wish, at)
    able = _READY if stable == wish else _HELD_UP if wish >= current else _HELD_DOWN
    replicas, why = _bounded(limits, memory, current, stable, at)
    return Verdict(replicas, able, replicas != stable, why)


def _stabilized(behavior: Object | None, memory: Memory, current: int, wish: int, at: float) -> int:
    """The smallest wish within the window for more, the greatest within that for fewer."""
    up = (((behavior or {}).get("scaleUp")) or {}).get("stabilizationWindowSeconds") or 0
    said = ((behavior or {}).get("scaleDown") or {}).get("stabilizationWindowSeconds")
    down = STABLE_S if said is None else said
    low = min([wish, *(it.number for it in memory.wishes if it.at > at - up)])
    high = max([wish, *(it.number for it in memory.wishes if it.at > at - down)])
    if behavior is None:  # more at once, fewer when nobody asks for more
        return high
    return min(max(current, low), high)


def _bounded(
    limits: Limits, memory: Memory, current: int, wish: int, at: float
) -> tuple[int, tuple[str, str]]:
    if limits.behavior is None:
        most = min(limits.most, max(2 * current, 4))
        if wish < limits.least:
            return limits.least, _LEAST
        return (most, _MOST if most == limits.most else _FAST_UP) if wish > most else (wish, _WITHIN)
    if wish > current:
        rate = max(current, _up(limits.behavior.get("scaleUp") or {}, memory, current, at))
        most = min(limits.most, rate)
        if wish > most:
            return most, _FAST_UP if rate < limits.most else _MOST
    elif wish < current:
        rate = min(current, _down(limits.behavior.get("scaleDown") or {}, memory, current, at))
        least = max(limits.least, rate)
        if wish < least:
            return least, _FAST_DOWN if rate > limits.least else _LEAST
    return wish, _WITHIN


def _up(rules: Object, memory: Memory, current: int, at: float) -> int:
    found = []
    for value, percent, start in _policies(rules, memory, current, at):
        found.append(-(-start * (100 + value) // 100) if percent else start + value)
    return _chosen(rules, found, current, max, min)


def _down(rules: Object, memory: Memory, current: int, at: float) -> int:
    found = []
    for value, percent, start in _policies(rules, memory, current, at):
        found.append(start * (100 - value) // 100 if percent else start - value)
    return _chosen(rules, found, current, min, max)


def _chosen(
    rules: Object, found: list[int], current: int, most: Callable[..., int], least: Callable[..., int]
) -> int:
    """By ``selectPolicy``: the greatest change unless it says otherwise."""
    policy = rules.get("selectPolicy") or "Max"
    if policy == "Disabled" or not found:
        return current
    return most(found) if policy == "Max" else least(found)


def _policies(rules: Object, memory: Memory, current: int, at: float) -> list[tuple[int, bool, int]]:
    """Of each policy its value, whether that is a percentage, and how many replicas its period began with."""
    made = []
    for it in rules.get("policies") or ():
        since = at - float(it.get("periodSeconds") or 0)
        added, taken = (
            sum(one.number for one in moments if one.at > since) for moments in (memory.added, memory.taken)
        )
        made.append((int(it.get("value") or 0), it.get("type") == "Percent", current - added + taken))
    return made
