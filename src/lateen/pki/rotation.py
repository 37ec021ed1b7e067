"""When is it time for a new certificate? Early enough to try again, and not all at once."""

from __future__ import annotations

from datetime import datetime, timedelta


def renewal(not_before: datetime, not_after: datetime, now: datetime, chance: float) -> datetime:
    """The moment to renew: between half and four fifths of the life, by ``chance`` (0 to 1), and never in the past.

    The spread keeps workloads that started together from renewing together.
    """
    share = 0.5 + 0.3 * min(max(chance, 0.0), 1.0)
    return max(now, not_before + (not_after - not_before) * share)


def retry(attempt: int, chance: float) -> timedelta:
    """How long to wait after the n-th failure (from 1): doubling from a second to a minute, with jitter of half."""
    longest = min(60.0, 2.0 ** min(max(attempt, 1) - 1, 10))
    return timedelta(seconds=longest * (0.5 + 0.5 * min(max(chance, 0.0), 1.0)))
