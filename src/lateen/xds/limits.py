"""Bounds of what one stream may make us remember, and what is said to a proxy that wants more."""

from __future__ import annotations

from collections.abc import Iterable

#: No proxy asks for more types, or for more names of one: whoever does is broken.
MOST_TYPES, MOST_NAMES = 32, 100_000
#: Envoy's longest names hold a hostname (253 bytes), a subset and a port, or a namespace and a name.
LONGEST_NAME = 1024
#: Of one stream, and of all streams of one connection: what names cost in memory, as `weight` counts. A hundred
#: thousand names of usual length fit; no mesh that one process can serve has more.
MOST_BYTES, MOST_BYTES_OF_CONNECTION = 16 * 1024 * 1024, 32 * 1024 * 1024
#: Words of a refusal: so many are kept, and in so many is looked for the names that they tell of.
LONGEST_WORDS, MOST_WORDS_READ = 2000, 16 * 1024
#: What a string and its place in a set cost besides its letters.
_EACH = 100


class GreedyError(ValueError):
    """A proxy asks for more than any proxy needs; the message says of what, and what to do."""


def weight(names: Iterable[str]) -> int:
    """Bytes that names cost to remember; GreedyError when one of them is too long."""
    total = 0
    for it in names:
        if len(it) > LONGEST_NAME:
            raise GreedyError(
                f'a name has {len(it)} letters, at most {LONGEST_NAME} are served: "{it[:100]}..."'
            )
        total += len(it) + _EACH
    return total


class Names:
    """Names of one kind that a proxy said, and their weight."""

    __slots__ = ("known", "weight")

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.weight = 0

    def add(self, names: Iterable[str]) -> None:
        """Remember; GreedyError when they are too many."""
        new = [it for it in names if it not in self.known]
        self.weight += weight(new)
        self.known.update(new)
        if len(self.known) > MOST_NAMES:
            raise GreedyError(
                f"a stream subscribes to at most {MOST_NAMES} names of a type: narrow what this proxy is to know"
            )

    def drop(self, names: Iterable[str]) -> None:
        """Forget."""
        for it in names:
            if it in self.known:
                self.known.discard(it)
                self.weight -= len(it) + _EACH

    def clear(self) -> None:
        """Forget all."""
        self.known.clear()
        self.weight = 0


def check_stream(weighs: int) -> None:
    """GreedyError when the names of a whole stream are too heavy."""
    if weighs > MOST_BYTES:
        raise GreedyError(
            f"the names that this stream subscribes to take {weighs} bytes, at most {MOST_BYTES} are kept for one: "
            "narrow what this proxy is to know (exportTo), or ask for all by *"
        )
