"""The server's half of a stream, as far as both forms of the protocol have it: when it speaks, not what it says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from lateen.envoy.resource import ORDER, Resource, TypeUrl, View
from lateen.xds.limits import LONGEST_NAME, MOST_TYPES, GreedyError
from lateen.xds.sequence import NOTHING, USED, Sequence, Subscribed
from lateen.xds.standing import Refusals, Standing

ResponseT = TypeVar("ResponseT")


class Subscription(Subscribed, Protocol):
    """What is remembered of one type."""

    sent: str
    acked: str
    refusals: Refusals

    @property
    def weight(self) -> int: ...

    def lags(self, available: Mapping[str, Resource]) -> bool: ...


SubscriptionT = TypeVar("SubscriptionT", bound=Subscription)


class Side(ABC, Generic[SubscriptionT, ResponseT]):
    """Until the first view is offered it listens and says nothing.

    ``now`` is seconds of a clock that does not go back. When ``due`` says a moment, ``wake`` is to be called then.
    What goes away is kept for ``linger_s`` at least (``lateen.xds.sequence``).
    """

    def __init__(self, linger_s: float = 0.0) -> None:
        self._view: View | None = None
        self._subscriptions: dict[TypeUrl, SubscriptionT] = {}
        self._sequence = Sequence(linger_s)
        self._nonces = 0

    @abstractmethod
    def _answer(self, type_url: TypeUrl, now: float) -> Iterator[ResponseT]:
        """What can be told of one type now."""

    def offer(self, view: View, now: float) -> Iterator[ResponseT]:
        """The mesh changed: this is everything the proxy should have now."""
        self._view = view
        yield from self._advance(now)

    def wake(self, now: float) -> Iterator[ResponseT]:
        """It is later: what was held back long enough is told."""
        yield from self._advance(now)

    @property
    def due(self) -> float | None:
        """When to call ``wake``; None while nothing is held back."""
        return self._sequence.due()

    @property
    def weight(self) -> int:
        """Bytes that the proxy's own names cost us."""
        return sum(it.weight for it in self._subscriptions.values())

    def standings(self) -> Mapping[TypeUrl, Standing]:
        """How every subscribed type stands."""
        view = self._view or {}
        return {
            url: Standing(
                it.sent, it.acked, it.error, it.lags(view.get(url, NOTHING)), dict(it.refusals.standing)
            )
            for url, it in sorted(self._subscriptions.items())
        }

    def _check_room(self, type_url: TypeUrl) -> None:
        """GreedyError when one more type is too many, or its name too long."""
        if len(self._subscriptions) >= MOST_TYPES:
            raise GreedyError(f"a stream has at most {MOST_TYPES} types")
        if len(type_url) > LONGEST_NAME:
            raise GreedyError(f"a type's name has {len(type_url)} letters, at most {LONGEST_NAME} are served")

    def _advance(self, now: float) -> Iterator[ResponseT]:
        """Everything that can be told now, in order."""
        if self._view is None:
            return
        self._sequence.begin()
        for type_url in ORDER:
            yield from self._answer(type_url, now)
        if self._sequence.again():
            for type_url in USED:
                yield from self._answer(type_url, now)
        self._sequence.end(now)
