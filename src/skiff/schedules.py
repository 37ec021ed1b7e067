"""When does a CronJob run next? Schedules of five fields, as the parser of Kubernetes reads them (robfig/cron, version 3).

``minute hour day-of-month month day-of-week``, or ``@hourly`` and its like, or ``@every 1h30m``.
Rules: https://pkg.go.dev/github.com/robfig/cron/v3#hdr-CRON_Expression_Format
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class _Field(NamedTuple):
    """The numbers that a field may have, and words for them."""

    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    _Field("minute", 0, 59), _Field("hour", 0, 23), _Field("day of month", 1, 31), _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _DAYS),
)  # fmt: skip
_SHORT = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_EVERY = "@every "
#: How many years ahead a moment is looked for: the 30th of February never comes.
_YEARS = 5
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(h|ms|m|s|us|µs|μs|ns)")  # Go takes both letters
#: No schedule of use is longer; a list of numbers could grow without end.
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule that was read. ``after`` says when it is due."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    #: Whether a day must fit both kinds of day: one of them is a star. Otherwise one is enough.
    both: bool
    zone: tzinfo
    #: Of ``@every``: the fields mean nothing then.
    every: timedelta | None = None

    @classmethod
    def parse(cls, text: str, zone: str = "") -> Schedule:
        """Read a schedule; ValueError says what is wrong. ``zone`` is an IANA name; without one, UTC."""
        place = _zone(zone)
        if len(text) > _LONGEST:
            raise ValueError(f"longer than {_LONGEST} characters")
        if "TZ" in text:
            raise ValueError("cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
        if text.startswith(_EVERY):
            nothing: frozenset[int] = frozenset()
            pause = _duration(text.removeprefix(_EVERY))
            return cls(nothing, nothing, nothing, nothing, nothing, False, place, pause)
        if text.startswith("@") and text not in _SHORT:
            raise ValueError(f"unrecognized descriptor: {text}")
        parts = _SHORT.get(text, text).split()
        if not parts:
            raise ValueError("empty spec string")
        if len(parts) != len(_FIELDS):
            raise ValueError(f"expected exactly {len(_FIELDS)} fields, found {len(parts)}: {parts}")
        minutes, hours, days, months, weekdays = map(_numbers, parts, _FIELDS)
        both = days[1] or weekdays[1]
        return cls(minutes[0], hours[0], days[0], months[0], weekdays[0], both, place)

    def after(self, moment: datetime) -> datetime | None:
        """The first moment later than this one, in UTC; None when there is none in the next years."""
        if self.every is not None:
            return moment.astimezone(UTC).replace(microsecond=0) + self.every
        first = (moment.astimezone(UTC) + timedelta(minutes=1)).replace(second=0, microsecond=0)
        day = first.astimezone(self.zone).date()
        last = day.year + _YEARS
        while day.year <= last:
            if self._fits(day.day, day.month, (day.weekday() + 1) % 7):
                midnight = datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)
                for it in self._on_a_day(max(first, midnight)):
                    return it
            day += timedelta(days=1)
        return None

    def latest(self, since: datetime, now: datetime) -> datetime | None:
        """The last moment after ``since`` and not after ``now``. Costs the same however long ago ``since`` is."""
        if self.every is not None:
            count = (now - since) // self.every
            return (since + count * self.every).astimezone(UTC).replace(microsecond=0) if count > 0 else None
        back = timedelta(minutes=1)
        while True:
            begin = max(since, now - back)
            found, following = None, self.after(begin)
            while following is not None and following <= now:
                found, following = following, self.after(following)
            if found is not None or begin == since:
                return found
            back *= 2

    def _fits(self, day: int, month: int, weekday: int) -> bool:
        if month not in self.months:
            return False
        found = (day in self.days, weekday in self.weekdays)
        return all(found) if self.both else any(found)

    def _on_a_day(self, moment: datetime) -> Iterator[datetime]:
        """The moments from this one on until the day ends there. An hour that the clock repeats counts twice."""
        local = moment.astimezone(self.zone)
        day = local.date()
        while local.date() == day:
            hit = local.hour in self.hours
            if hit and local.minute in self.minutes:
                yield moment
            moment += timedelta(minutes=1 if hit else 60 - local.minute)
            local = moment.astimezone(self.zone)


def _zone(name: str) -> tzinfo:
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as wrong:
        raise ValueError(f"unknown time zone {name}") from wrong


def _numbers(text: str, field: _Field) -> tuple[frozenset[int], bool]:
    """(the numbers that a field means, whether it is a star)."""
    found: set[int] = set()
    star = False
    for it in filter(None, text.split(",")):
        numbers, all_of_them = _range(it, field)
        found.update(numbers)
        star = star or all_of_them
    if not found:
        raise ValueError(f"no {field.name} in {text!r}")
    return frozenset(found), star


def _range(text: str, field: _Field) -> tuple[range, bool]:
    """One of ``*``, ``3``, ``3-7``, ``*/2``, ``3-7/2`` and ``3/2``, which goes on to the end."""
    span, slash, stride = text.partition("/")
    low, dash, high = span.partition("-")
    if "/" in stride:
        raise ValueError(f"too many slashes: {text}")
    if "-" in high:
        raise ValueError(f"too many hyphens: {text}")
    star = low in ("*", "?")
    start = field.least if star else _number(low, field)
    end = field.most if star or (slash and not dash) else start
    if dash and not star:
        end = _number(high, field)
    step = _plain(stride) if slash else 1
    if start < field.least:
        raise ValueError(f"beginning of range ({start}) below minimum ({field.least}): {text}")
    if end > field.most:
        raise ValueError(f"end of range ({end}) above maximum ({field.most}): {text}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")
    return range(start, end + 1, step), star and step == 1


def _number(text: str, field: _Field) -> int:
    word = text.lower()
    return field.words.index(word) + field.least if word in field.words else _plain(text)


def _plain(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"failed to parse int from {text}")
    return int(text)


def _duration(text: str) -> timedelta:
    """Of Go's ``1h30m``; at least a second, and whole ones."""
    rest = text.lstrip("+-") if text[:1] in "+-" else text
    if rest != "0" and not re.fullmatch(rf"(?:{_DURATION.pattern})+", rest):
        raise ValueError(f'failed to parse duration {_EVERY}{text}: time: invalid duration "{text}"')
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(rest))
    if seconds > 2**63 / 1e9:  # what Go can count
        raise ValueError(f'failed to parse duration {_EVERY}{text}: time: invalid duration "{text}"')
    return timedelta(seconds=1 if text.startswith("-") else max(1, int(seconds)))
