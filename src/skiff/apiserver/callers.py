"""How much may one caller have under way? So that nobody takes the server from the others by asking much at once."""

from __future__ import annotations

import contextlib
import enum
from collections import Counter
from collections.abc import Iterator

from aiohttp import web

from skiff.apiserver.access import STREAMED
from skiff.errors import ApiError
from skiff.queries import truth

#: Who has these is the cluster's owner, and must get in when it is full of others.
_OWNERS = "system:masters"


class Sort(enum.Enum):
    """Requests that are alike in what they hold, and how many one caller may have of them."""

    SHORT = "requests", 200
    WATCH = "watches", 500
    STREAM = "streams", 100

    def __init__(self, words: str, most: int) -> None:
        self.words, self.most = words, most


#: Of each sort, from all callers but the cluster's owner.
_MOST_IN_ALL = {Sort.SHORT: 1_000, Sort.WATCH: 5_000, Sort.STREAM: 1_000}


class Callers:
    """What is under way."""

    def __init__(self) -> None:
        self._now: Counter[tuple[Sort, str]] = Counter()
        self._in_all: Counter[Sort] = Counter()

    @contextlib.contextmanager
    def counted(self, sort: Sort, caller: str, groups: tuple[str, ...]) -> Iterator[None]:
        """While a request is served; 429 when there are too many."""
        if _OWNERS in groups:
            yield
            return
        key = (sort, caller)
        if self._now[key] >= sort.most or self._in_all[sort] >= _MOST_IN_ALL[sort]:
            whose = "of yours " if self._now[key] >= sort.most else ""
            said = f"too many {sort.words} {whose}are under way, please try again later"
            raise ApiError(429, "TooManyRequests", said, {"retryAfterSeconds": 1})
        self._now[key] += 1
        self._in_all[sort] += 1
        try:
            yield
        finally:
            self._in_all[sort] -= 1
            self._now[key] -= 1
            if not self._now[key]:
                del self._now[key]


def sort_of(request: web.Request) -> Sort:
    """What a request holds, by what it asks for."""
    last = request.path.rstrip("/").rpartition("/")[2]
    if last in STREAMED or last == "log":
        return Sort.STREAM
    return Sort.WATCH if request.method == "GET" and truth(request, "watch") else Sort.SHORT
