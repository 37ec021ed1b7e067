"""When certificates are renewed: spread, in time, and again when it fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lateen.authority.service import LONGEST
from lateen.pki.certificates import BACKDATE
from lateen.pki.rotation import renewal, retry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
lives = st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=400))
chances = st.floats(min_value=-1, max_value=2, allow_nan=False)


@given(lives, chances)
def test_a_fresh_certificate_is_renewed_in_the_second_half_of_its_life(
    life: timedelta, chance: float
) -> None:
    moment = renewal(NOW, NOW + life, NOW, chance)
    assert NOW + life / 2 <= moment <= NOW + life * 0.8 + timedelta(microseconds=1)


@given(lives, st.timedeltas(min_value=timedelta(), max_value=timedelta(days=800)), chances)
def test_the_moment_is_never_in_the_past(life: timedelta, age: timedelta, chance: float) -> None:
    assert renewal(NOW, NOW + life, NOW + age, chance) >= NOW + age


def test_who_started_together_does_not_renew_together() -> None:
    moments = {renewal(NOW, NOW + LONGEST, NOW, number / 99) for number in range(100)}
    assert len(moments) == 100
    assert max(moments) - min(moments) > timedelta(hours=7)


@given(st.integers(min_value=-5, max_value=10_000), chances)
def test_failures_are_tried_again_within_a_minute_and_not_at_once(attempt: int, chance: float) -> None:
    assert timedelta(seconds=0.5) <= retry(attempt, chance) <= timedelta(minutes=1)


def test_hours_of_outage_fit_between_renewal_and_end() -> None:
    begin = NOW - BACKDATE  # as the CA writes it
    latest = renewal(begin, NOW + LONGEST, NOW, 1.0)
    assert NOW + LONGEST - latest > timedelta(hours=4.5)
