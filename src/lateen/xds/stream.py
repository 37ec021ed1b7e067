"""What does this proxy have, what do we say next? One proxy's side of the delta protocol, as a machine without I/O.

The server feeds it requests and views, and sends what it returns. Everything it knows fits one line per type:
*wanted* (subscribed names), *held* (name -> version the proxy has or is being sent), and the nonce awaited, if any.
The protocol: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#incremental-xds
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ORDER, Resource, TypeUrl
from lateen.xds.limits import Names, check_stream, weight
from lateen.xds.sequence import NOTHING, USED, USERS
from lateen.xds.side import Side
from lateen.xds.standing import Refusals

#: Types of which a first request without names means all; of others it means none yet.
WILDCARDS = frozenset({CLUSTER, LISTENER})
#: Types that a view may hold. A name of another is answered once, as absent, and forgotten.
SERVED = frozenset(ORDER)


@dataclass(frozen=True, slots=True)
class Request:
    """What the proxy said: a DeltaDiscoveryRequest without its node."""

    type_url: TypeUrl
    subscribe: frozenset[str] = frozenset()
    unsubscribe: frozenset[str] = frozenset()
    initial_versions: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """What to send: a DeltaDiscoveryResponse."""

    type_url: TypeUrl
    nonce: str
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()


class DeltaStream(Side["_Subscription", Response]):
    """The server's half of one delta stream."""

    def receive(self, request: Request, now: float) -> Iterator[Response]:
        """The proxy said something: a new interest, an acknowledgement or a refusal."""
        subscription = self._subscriptions.get(request.type_url)
        first = subscription is None
        if subscription is None:
            subscription = self._subscribe(request)
        asked = subscription.want(request.subscribe, request.unsubscribe)
        check_stream(self.weight)
        if request.nonce and request.nonce == subscription.awaited:
            subscription.heard(request.nonce, request.error)
        subscription.owed = subscription.owed or first or asked
        if not subscription.served:
            yield from self._answer(request.type_url, now)
        yield from self._advance(now)

    def _subscribe(self, request: Request) -> _Subscription:
        self._check_room(request.type_url)
        served = request.type_url in SERVED
        # The first request of a type without names is a wildcard subscription (legacy form of "*").
        wildcard = not request.subscribe and request.type_url in WILDCARDS
        held = dict(request.initial_versions) if served else {}
        if request.type_url == ENDPOINT:
            held = self._not_waited_for(held)
        self._sequence.returns = self._sequence.returns or bool(request.initial_versions)
        made = _Subscription(wildcard=wildcard, held=held, served=served)
        made.brought = weight(held.keys()) + weight(held.values())
        self._subscriptions[request.type_url] = made
        return made

    def _answer(self, type_url: TypeUrl, now: float) -> Iterator[Response]:
        subscription = self._subscriptions.get(type_url)
        if subscription is None or subscription.awaited or self._view is None:
            return  # one response at a time: the next is made when this one is acknowledged
        available = self._view.get(type_url, NOTHING)
        news = subscription.owed or subscription.told is not available
        if not news and not subscription.doomed:
            return  # the very mapping it was told: views share what did not change
        if type_url in USERS and not self._sequence.may_tell(self._subscriptions, self._view, now):
            return
        changed, removed = subscription.difference(available, now) if news else ((), ())
        if doomed := subscription.doomed:
            removable = self._sequence.removable if type_url in USED else all_of
            gone = removable(doomed, self._subscriptions, self._view, now)
            removed = tuple(sorted(gone.union(removed)))
            subscription.doomed = {name: since for name, since in doomed.items() if name not in gone}
        if not (changed or removed or subscription.owed):
            return
        self._nonces += 1
        subscription.send(str(self._nonces), changed, removed)
        if type_url == CLUSTER and (endpoints := self._subscriptions.get(ENDPOINT)):
            endpoints.miss(it.name for it in changed)
        yield Response(type_url, subscription.awaited, changed, removed)

    def _not_waited_for(self, held: dict[str, str]) -> dict[str, str]:
        """The endpoints, of those that a returning proxy has, for which none of its clusters waits anew.

        Envoy speaks of clusters first, but says nothing of them while one that was changed waits for its endpoints: then
        we cannot know which. Else those wait that we have just told it of.
        """
        if (clusters := self._subscriptions.get(CLUSTER)) is None:
            return {}
        replaced = {name for name, _ in clusters.refusals.under_way}
        return {name: version for name, version in held.items() if name not in replaced}


def all_of(doomed: Mapping[str, float], *_: object) -> frozenset[str]:
    """What uses others goes at once."""
    return frozenset(doomed)


@dataclass(slots=True)
class _Subscription:
    wildcard: bool
    held: dict[str, str]
    served: bool = True
    names: Names = field(default_factory=Names)
    missing: Names = field(default_factory=Names)  # asked for since the last answer
    brought: int = 0  # what the versions weigh that it came with
    doomed: dict[str, float] = field(
        default_factory=dict
    )  # held, in no view any more since, not yet taken away
    owed: bool = False  # an answer is due even when there is nothing to say
    told: Mapping[str, Resource] | None = None  # with which ``held`` agrees, but for what is doomed
    awaited: str = ""
    sent: str = ""
    acked: str = ""
    refusals: Refusals = field(default_factory=Refusals)

    @property
    def error(self) -> str:
        """The words of the last refusal that stands."""
        return self.refusals.words

    @property
    def weight(self) -> int:
        """Bytes that the proxy's own names cost us."""
        return self.names.weight + self.missing.weight + self.brought

    def behind(self, available: Mapping[str, Resource]) -> bool:
        """Whether there may be more to say of these than was said."""
        return self.told is not available and self.told != available

    def lags(self, available: Mapping[str, Resource]) -> bool:
        """Whether something is still to be told, held back or not."""
        return bool(self.doomed) or (self.behind(available) and bool(self.sent))

    def want(self, subscribe: frozenset[str], unsubscribe: frozenset[str]) -> bool:
        """Change the interest; whether names were asked for, which always get an answer."""
        self.wildcard = (self.wildcard or "*" in subscribe) and "*" not in unsubscribe
        asked, dropped = subscribe - {"*"}, unsubscribe - {"*"}
        again = asked if self.wildcard else asked & self.names.known
        if self.served:
            self.names.add(asked)
        self.names.drop(unsubscribe)
        if subscribe or unsubscribe:
            self.told = None
        for name in again:
            self.held.pop(name, None)  # asking again means: I do not have it
        self.missing.add(asked)
        self.missing.drop(unsubscribe)
        for name in dropped:
            self.held.pop(name, None)  # the proxy forgets by itself what it no longer wants
            self.doomed.pop(name, None)
        if self.wildcard and self.served:
            # It cannot know whether all of them still include what it unsubscribed from: it is told.
            self.missing.add(dropped)
        return bool(asked or (self.wildcard and dropped))

    def miss(self, names: Iterable[str]) -> None:
        """Clusters are replaced: Envoy waits for their endpoints anew, and does not ask again for what it asked once.

        Until they come it neither uses the cluster nor acknowledges it (https://github.com/envoyproxy/envoy/issues/13009).
        """
        for name in self.names.known.intersection(names):
            self.held.pop(name, None)
            self.missing.add((name,))
            self.told = None

    def difference(
        self, available: Mapping[str, Resource], now: float
    ) -> tuple[tuple[Resource, ...], tuple[str, ...]]:
        """What it lacks, and what it asked for in vain. What it has and should not have is doomed now."""
        names = self.names.known
        wanted = available if self.wildcard else {it: available[it] for it in names & available.keys()}
        # Sorted is what changed, which is little, not what is wanted, which is all.
        changed = tuple(sorted(it for it in wanted.values() if self.held.get(it.name) != it.version))
        self.doomed = {name: self.doomed.get(name, now) for name in self.held if name not in wanted}
        self.told = available
        # A name that was asked for and does not exist is answered as removed, so that the proxy need not wait.
        return changed, tuple(sorted(it for it in self.missing.known if it not in wanted))

    def send(self, nonce: str, changed: tuple[Resource, ...], removed: tuple[str, ...]) -> None:
        """Remember what is under way."""
        self.awaited = self.sent = nonce
        self.owed = False
        self.missing.clear()
        self.held.update({it.name: it.version for it in changed})
        for name in removed:
            self.held.pop(name, None)
        self.refusals.sending(((it.name, it.version) for it in changed), removed)

    def heard(self, nonce: str, error: str) -> None:
        """The proxy accepted, or refused, what was sent. A refused version is not sent again until it changes."""
        self.awaited = ""
        self.refusals.heard(error)
        if not error:
            self.acked = nonce
