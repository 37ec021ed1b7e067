"""When a CronJob is due, and which schedules are none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skiff.schedules import Schedule

#: Hypothesis makes moments without a zone, and wants its bounds so.
EARLY, LATE = datetime(1980, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "zone", "moment", "due"),
    [
        ("*/5 * * * *", "", "2026-01-01T10:02:30", "2026-01-01T10:05:00"),
        ("*/5 * * * *", "", "2026-01-01T10:05:00", "2026-01-01T10:10:00"),
        ("0 9-17/4 * * MON-fri", "", "2026-01-02T17:00:00", "2026-01-05T09:00:00"),
        ("30/20 * * * *", "", "2026-01-01T00:00:00", "2026-01-01T00:30:00"),
        ("30/20 * * * *", "", "2026-01-01T00:30:00", "2026-01-01T00:50:00"),
        ("0 0 29 2 *", "", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 13 * 5", "", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),  # either day
        ("0 0 13 * ?", "", "2026-01-01T00:00:00", "2026-01-13T00:00:00"),
        ("0 0 13 * */2", "", "2026-01-01T00:00:00", "2026-01-03T00:00:00"),  # a step is no star
        ("@hourly", "", "2026-01-01T23:59:59", "2026-01-02T00:00:00"),
        ("@weekly", "", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("@every 1h30m", "", "2026-01-01T00:00:10", "2026-01-01T01:30:10"),
        ("@every 10ms", "", "2026-01-01T00:00:00", "2026-01-01T00:00:01"),
        ("0 12 * * *", "Europe/Berlin", "2026-07-01T00:00:00", "2026-07-01T10:00:00"),
        ("15 1 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00", "2018-11-04T03:15:00"),  # no midnight on that day
        # The clock leaves out 02:00-03:00 on the 29th of March, and has 02:30 twice on the 25th of October.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00", "2026-03-30T00:30:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00", "2026-10-25T00:30:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00", "2026-10-25T01:30:00"),
    ],
)  # fmt: skip
def test_the_next_moment(text: str, zone: str, moment: str, due: str) -> None:
    assert Schedule.parse(text, zone).after(at(moment)) == at(due)


def test_a_day_that_never_comes() -> None:
    assert Schedule.parse("0 0 30 2 *").after(at("2026-01-01T00:00:00")) is None


@pytest.mark.finding("issue 7 part 6")
@pytest.mark.parametrize(
    "text",
    [
        "", "* * * *", "* * * * * *", "99 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "5-1 * * * *",
        "*/0 * * * *", "1/2/3 * * * *", "1-2-3 * * * *", "a * * * *", "-1 * * * *", "@reboot", "@every", "@every x", "@every 1",
        "@every 1h1", "TZ=UTC * * * * *", "CRON_TZ=UTC * * * * *", ", * * * *", "٣ * * * *", "1," * 600 + " * * * *",
    ],
)  # fmt: skip
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        Schedule.parse(text)


@pytest.mark.parametrize("zone", ["Nowhere/Land", "../../etc/passwd", "Europe", "a\0b", "x" * 5000])
def test_what_is_no_zone(zone: str) -> None:
    with pytest.raises(ValueError, match="unknown time zone"):
        Schedule.parse("* * * * *", zone)


@given(
    st.text(alphabet="0123456789*/,-? @everyhms.MONjan", max_size=30),
    st.datetimes(min_value=EARLY, max_value=LATE),
)
def test_any_text_is_a_schedule_or_a_value_error(text: str, moment: datetime) -> None:
    try:
        found = Schedule.parse(text, "Europe/Berlin")
    except ValueError:
        return
    due = found.after(moment.replace(tzinfo=UTC))
    assert due is None or due > moment.replace(tzinfo=UTC)


@given(st.datetimes(min_value=EARLY, max_value=LATE), st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo"]),
       st.integers(0, 59), st.integers(0, 23))  # fmt: skip
def test_it_is_the_first_minute_that_fits(moment: datetime, zone: str, minute: int, hour: int) -> None:
    found = Schedule.parse(f"{minute} {hour} * * *", zone)
    start = moment.replace(tzinfo=UTC)
    due = found.after(start)
    it = (start + timedelta(minutes=1)).replace(second=0, microsecond=0)
    while (local := it.astimezone(found.zone)).minute != minute or local.hour != hour:
        it += timedelta(minutes=1)
    assert due == it
