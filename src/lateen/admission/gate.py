"""The bound on what one address may have under way at our webhooks: reviews, and bytes of their bodies.

Only an API server has reason to ask, but it shows no certificate, so that anybody can. Whoever sends more than a share
is refused; no address is refused for what others send.
"""

from __future__ import annotations

from collections import Counter

#: Reviews of one address that are read, wait or are worked on.
MOST_REVIEWS = 128
#: A review holds an object as it was and as it will be; Kubernetes takes objects of up to 3 MiB.
LARGEST = 8 * 1024 * 1024
MOST_BYTES = 3 * LARGEST
#: Of all addresses together: the more there are, the smaller the share of each.
ALL_BYTES = 8 * LARGEST
#: An ordinary review finds room while larger ones of others are refused.
ORDINARY = 64 * 1024


class FullError(Exception):
    """An address has too much under way; the message says what."""


class Gate:
    """What is under way."""

    def __init__(self) -> None:
        self._reviews: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._total = 0

    def enter(self, address: str) -> None:
        """One more review; FullError."""
        if self._reviews[address] >= MOST_REVIEWS:
            raise FullError(f"{address} has {MOST_REVIEWS} reviews under way: wait for their answers")
        self._reviews[address] += 1

    def take(self, address: str, size: int) -> None:
        """So many more bytes of a body; FullError."""
        share = max(min(MOST_BYTES, ALL_BYTES // max(len(self._reviews), 1)), ORDINARY)
        wanted = self._bytes[address] + size
        if wanted > share or (self._total + size > 2 * ALL_BYTES and wanted > ORDINARY):
            raise FullError(f"the reviews of {address} are too large together: wait for their answers")
        self._bytes[address] = wanted
        self._total += size

    def leave(self, address: str, size: int) -> None:
        """A review ended that had taken so many bytes."""
        self._total -= size
        for counter, less in ((self._reviews, 1), (self._bytes, size)):
            counter[address] -= less
            if not counter[address]:
                del counter[address]
