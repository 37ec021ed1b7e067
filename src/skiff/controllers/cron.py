"""When is it time? Schedules as CronJobs write them, which are those of github.com/robfig/cron. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
#: (name, lowest, highest, words) of the five fields.
_FIELDS = (
    ("minute", 0, 59, ()), ("hour", 0, 23, ()), ("day of month", 1, 31, ()), ("month", 1, 12, tuple(_MONTHS)),
    ("day of week", 0, 6, tuple(_DAYS)),
)  # fmt: skip
_NAMED = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|ns|m|s)")
#: Nobody waits longer: a day that does not exist is never.
_YEARS = 5


class _Field(NamedTuple):
    values: frozenset[int]
    any: bool  # written as a star


class Schedule(NamedTuple):
    """What was written, understood. ``every_s`` stands for ``@every``."""

    fields: tuple[_Field, ...] = ()
    every_s: int = 0

    def next(self, after: datetime, zone: tzinfo = UTC) -> datetime | None:
        """The first time after a moment, in UTC; None when there is none within five years."""
        after = after.astimezone(UTC)
        if self.every_s:
            return (after + timedelta(seconds=self.every_s)).replace(microsecond=0)
        minutes, hours, _, months, _ = (it.values for it in self.fields)
        moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
        end = after + timedelta(days=366 * _YEARS)
        while moment <= end:
            local = moment.astimezone(zone)
            if local.month not in months:
                moment = _month_after(local, zone)
            elif not self._day(local):
                moment = _day_after(local, zone)
            elif local.hour not in hours:
                moment += timedelta(minutes=60 - local.minute)
            elif local.minute not in minutes:
                moment += timedelta(minutes=1)
            else:
                return moment
        return None

    def _day(self, local: datetime) -> bool:
        """Both days must fit when one is a star; else one of the two is enough, as cron has always done."""
        month, week = self.fields[2], self.fields[4]
        fits = (local.day in month.values, local.isoweekday() % 7 in week.values)
        return all(fits) if month.any or week.any else any(fits)

    def latest(self, since: datetime, now: datetime, zone: tzinfo = UTC) -> datetime | None:
        """The last time after ``since`` that is not later than ``now``. Costs the same however long ago ``since`` is."""
        if self.every_s:
            count = int((now - since).total_seconds() // self.every_s)
            return (
                (since + timedelta(seconds=count * self.every_s)).replace(microsecond=0)
                if count > 0
                else None
            )
        back = timedelta(minutes=1)
        while True:
            begin = max(since, now - back)
            found = None
            for it in self._from(begin, zone):
                if it > now:
                    break
                found = it
            if found is not None or begin == since:
                return found
            back *= 2

    def _from(self, begin: datetime, zone: tzinfo) -> Iterator[datetime]:
        moment = self.next(begin, zone)
        while moment is not None:
            yield moment
            moment = self.next(moment, zone)


def parse(text: str) -> Schedule:
    """ValueError says what is wrong, in the words that Kubernetes' own parser uses."""
    if not text.strip():
        raise ValueError("empty spec string")
    if "TZ" in text:
        raise ValueError("cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    if text.startswith("@every "):
        return Schedule(every_s=max(1, int(_seconds(text.removeprefix("@every ")))))
    if text.startswith("@") and text not in _NAMED:
        raise ValueError(f"unrecognized descriptor: {text}")
    words = _NAMED.get(text, text).split()
    if len(words) != len(_FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(words)}: [{' '.join(words)}]")
    return Schedule(tuple(_field(word, *it) for word, it in zip(words, _FIELDS, strict=True)))


def _seconds(text: str) -> float:
    if not text or _DURATION.sub("", text):
        raise ValueError(f'failed to parse duration @every {text}: time: invalid duration "{text}"')
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))


def _field(text: str, name: str, low: int, high: int, words: tuple[str, ...]) -> _Field:
    values: set[int] = set()
    free = False
    for part in filter(None, text.split(",")):
        fits, star = _range(part, low, high, words)
        values |= fits
        free = free or star
    if not values:
        raise ValueError(f"no {name} in {text!r}")
    return _Field(frozenset(values), free)


def _range(part: str, low: int, high: int, words: tuple[str, ...]) -> tuple[set[int], bool]:
    """``*``, ``5``, ``1-5``, ``*/2``, ``3/2`` (from 3 on), ``1-30/7``."""
    span, slash, said = part.partition("/")
    if part.count("/") > 1:
        raise ValueError(f"too many slashes: {part}")
    step = _number(said, ()) if slash else 1
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {part}")
    first, dash, last = span.partition("-")
    if first in ("*", "?"):
        if dash:
            raise ValueError(f"a star has no end: {part}")
        return set(range(low, high + 1, step)), step == 1
    if last.count("-"):
        raise ValueError(f"too many hyphens: {part}")
    begin = _number(first, words, low)
    end = _number(last, words, low) if dash else high if slash else begin
    if begin < low:
        raise ValueError(f"beginning of range ({begin}) below minimum ({low}): {part}")
    if end > high:
        raise ValueError(f"end of range ({end}) above maximum ({high}): {part}")
    if begin > end:
        raise ValueError(f"beginning of range ({begin}) beyond end of range ({end}): {part}")
    return set(range(begin, end + 1, step)), False


def _number(text: str, words: tuple[str, ...], low: int = 0) -> int:
    if text.lower() in words:
        return words.index(text.lower()) + low
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise ValueError(f"failed to parse int from {text}")
    return int(text)


def _day_after(local: datetime, zone: tzinfo) -> datetime:
    """The first moment of the next day there: midnight, or later where the clock leaps over it."""
    begin = (local.replace(tzinfo=None, hour=0, minute=0) + timedelta(days=1)).replace(tzinfo=zone)
    return _real(begin, local)


def _month_after(local: datetime, zone: tzinfo) -> datetime:
    begin = (local.replace(tzinfo=None, day=1, hour=0, minute=0) + timedelta(days=32)).replace(
        day=1, tzinfo=zone
    )
    return _real(begin, local)


def _real(begin: datetime, local: datetime) -> datetime:
    made = begin.astimezone(UTC).replace(second=0, microsecond=0)
    before = local.astimezone(UTC)
    return made if made > before else before + timedelta(minutes=1)
