"""What happens, and how often? Drawn from a seed, counted, and never so often in a row that a patient client gives up."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

#: A client that tries three times comes through.
IN_A_ROW = 2
#: Requests whose recent failures are remembered.
_MOST_KEYS = 4096


@dataclass(frozen=True, slots=True)
class Rates:
    """How often, as a share of requests; moments in seconds."""

    slow: float = 0.1
    slow_s: tuple[float, float] = (0.02, 0.4)
    overloaded: float = 0.03  # 429 with Retry-After
    reset_before: float = 0.02  # the connection is lost, and nothing was done
    reset_after: float = 0.02  # it is lost, and all was done
    compacted: float = 0.1  # of watches and pages that go on from a revision: 410
    watch_s: tuple[float, float] = (1.0, 30.0)  # a watch lasts no longer
    late_s: tuple[float, float] = (0.0, 0.5)  # what controllers tell comes so much later


class Chance:
    """One source of chance for a cluster. ``happened`` counts."""

    def __init__(self, seed: int, rates: Rates | None = None) -> None:
        self.seed, self.rates = seed, rates or Rates()
        self.happened: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._troubles: Counter[str] = Counter()  # in a row, by who asked for what

    def happens(self, what: str, rate: float) -> bool:
        """Whether it does this time."""
        if self._random.random() >= rate:
            return False
        self.happened[what] += 1
        return True

    def troubled(self, key: str, what: str, rate: float) -> bool:
        """Whether a request fails by chance; not when its like failed ``IN_A_ROW`` times just now."""
        if self._troubles[key] >= IN_A_ROW or not self.happens(what, rate):
            return False
        if len(self._troubles) > _MOST_KEYS:
            self._troubles.clear()
        self._troubles[key] += 1
        return True

    def went_well(self, key: str) -> None:
        """A request came through: its like may fail again."""
        self._troubles.pop(key, None)

    def moment(self, between: tuple[float, float]) -> float:
        """Some seconds."""
        return self._random.uniform(*between)

    def one_of(self, *what: str) -> str:
        """One of several."""
        return self._random.choice(what)
