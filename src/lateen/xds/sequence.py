"""Make before break: what one type of a stream waits for before it is told.

A route that names a cluster which the proxy lacks, or still warms, costs requests. So what *uses* clusters (listeners,
routes) is told when the proxy has acknowledged its clusters, which Envoy does when they are warm; and what goes away is
taken away when everything that may use it was told, and acknowledged, without it.

Both waits are bounded: a cluster that never warms does not stop the routes of all others.

Objects that belong together are applied one after the other: for a moment a rule may name a subset that was just renamed.
So what goes away may linger, and the rule that follows finds the proxy as it was. While a rule still names it, it is kept
for longer: an API server that is busy tells of the second object seconds after the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from lateen.envoy.named import missing
from lateen.envoy.resource import (
    CLUSTER,
    ENDPOINT,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTE,
    SECRET,
    Resource,
    TypeUrl,
    View,
)

#: Those that name others, and those that are named.
USERS = (LISTENER, ROUTE)
USED = (CLUSTER, ENDPOINT, SECRET, EXTENSION_CONFIG)
#: Longer is not waited. Envoy itself gives up warming after 15 s, and acknowledges then; whoever shifts traffic away
#: from a failure at that time should not have to wait so long.
PATIENCE_S = 10.0
#: What a view has of a type that is not in it. One object: a stream knows by identity what it has told.
NOTHING: Mapping[str, Resource] = {}


class Subscribed(Protocol):
    """What the subscriptions of both protocols have in common."""

    wildcard: bool
    awaited: str

    @property
    def error(self) -> str: ...

    def behind(self, available: Mapping[str, Resource]) -> bool:
        """Whether there may be more to say of these than was said."""


Subscriptions = Mapping[TypeUrl, Subscribed]


@dataclass(slots=True)
class Sequence:
    """Who waits on one stream, and since when. Moments are seconds of a clock that does not go back.

    Before each round of answers ``begin`` is called, after it ``end``. What goes away is kept for ``linger_s`` at least,
    each name from its own moment on: what went a moment ago does not go with what went seconds ago.
    """

    linger_s: float = 0.0
    returns: bool = False  # the proxy was served before: it has routes before it asks for them
    users_held: bool = False
    _users_since: float | None = None
    _removals_due: float | None = None
    _clusters_come: bool = True  # who asks for the endpoints of clusters asks for those, too, sooner or later
    _waived: str = ""  # the response that was waited for long enough

    def begin(self) -> None:
        """Nothing is held back yet."""
        self.users_held, self._removals_due = False, None

    def again(self) -> bool:
        """Whether removals were held back, perhaps by a type that was told meanwhile: then ask again for them."""
        held, self._removals_due = self._removals_due is not None, None
        return held

    def end(self, now: float) -> None:
        """Waiting begins with the first thing that is held back, and ends with the last."""
        if not self.users_held:
            self._users_since = None
        elif self._users_since is None:
            self._users_since = now

    def due(self) -> float | None:
        """When something is told although what it waits for did not come, or has lingered long enough."""
        moments = [self._removals_due, None if self._users_since is None else self._users_since + PATIENCE_S]
        return min((it for it in moments if it is not None), default=None)

    def may_tell(self, subscribed: Subscriptions, view: View, now: float) -> bool:
        """Whether listeners and routes of this view can be told: the clusters that they name are warm."""
        if not self._clusters_lag(subscribed, view):
            return True
        if _over(self._users_since, now):
            # Not waited for once more by whatever comes next.
            if clusters := subscribed.get(CLUSTER):
                self._waived = clusters.awaited
            self._clusters_come = self._clusters_come and clusters is not None
            return True
        self.users_held = True
        return False

    def _clusters_lag(self, subscribed: Subscriptions, view: View) -> bool:
        clusters, endpoints = subscribed.get(CLUSTER), subscribed.get(ENDPOINT)
        if clusters is None:
            # Envoy says nothing of clusters while one warms, also to the next control plane.
            return self._clusters_come and (self.returns or endpoints is not None)
        if not clusters.wildcard:
            return False  # gRPC asks for a cluster when a route has named it
        if clusters.awaited and clusters.awaited != self._waived:
            return True
        return clusters.behind(view.get(CLUSTER, NOTHING)) or (
            endpoints is not None and endpoints.behind(view.get(ENDPOINT, NOTHING))
        )

    def removable(
        self, doomed: Mapping[str, float], subscribed: Subscriptions, view: View, now: float
    ) -> frozenset[str]:
        """Which of the names that are in no view any more, and since when, can go.

        They have lingered, for ``PATIENCE_S`` what is named all the same, and nobody who may use them is still to be told,
        or refused to be. While a refusal stands, the proxy goes on with its last listener or route, and what that names.
        """
        users = [(url, it) for url in USERS if (it := subscribed.get(url))]
        if any(it.error for _, it in users):
            return frozenset()
        known = bool(users) or not self.returns
        unused = known and not any(it.awaited or it.behind(view.get(url, NOTHING)) for url, it in users)
        wait_s = self.linger_s if unused else PATIENCE_S
        lingered = {name for name, since in doomed.items() if now >= since + wait_s}
        missed: AbstractSet[str] = frozenset()
        if self.linger_s and unused:
            missed = missing(lingered, (it for url, _ in users for it in view.get(url, NOTHING).values()))
        gone = frozenset(name for name in lingered if name not in missed or _over(doomed[name], now))
        if gone and not unused:
            self.returns = False  # it has no routes
        if len(gone) < len(doomed):
            due = min(
                since + (PATIENCE_S if name in missed else wait_s)
                for name, since in doomed.items()
                if name not in gone
            )
            self._removals_due = due if self._removals_due is None else min(due, self._removals_due)
        return gone


def _over(since: float | None, now: float, patience_s: float = PATIENCE_S) -> bool:
    return since is not None and now >= since + patience_s
