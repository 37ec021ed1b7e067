"""What does this proxy have, what do we say next? One proxy's side of the delta protocol, as a machine without I/O.

The server feeds it requests and views, and sends what it returns. Everything it knows fits one line per type:
*wanted* (subscribed names), *held* (name -> version the proxy has or is being sent), and the nonce awaited, if any.
The protocol: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#incremental-xds
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ORDER, Resource, TypeUrl, View

#: Types of which a first request without names means all; of others it means none yet.
WILDCARDS = frozenset({CLUSTER, LISTENER})
#: No proxy asks for more types, or for more names of one: whoever does is broken.
MOST_TYPES, MOST_NAMES = 32, 100_000


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


class GreedyError(ValueError):
    """A proxy asks for more than any proxy needs; the message says of what."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one type stands, for ``proxy-status``. Nonces count responses; empty: none yet."""

    sent: str
    acked: str
    error: str

    @property
    def synced(self) -> bool:
        """Whether everything sent was accepted."""
        return not self.error and self.sent == self.acked


class DeltaStream:
    """The server's half of one delta stream. Until the first view is offered it listens and says nothing."""

    def __init__(self) -> None:
        self._view: View | None = None
        self._subscriptions: dict[TypeUrl, _Subscription] = {}
        self._nonces = 0

    def receive(self, request: Request) -> Iterator[Response]:
        """The proxy said something: a new interest, an acknowledgement or a refusal."""
        subscription = self._subscriptions.get(request.type_url)
        first = subscription is None
        if subscription is None:
            if len(self._subscriptions) >= MOST_TYPES:
                raise GreedyError(f"a stream has at most {MOST_TYPES} types")
            # The first request of a type without names is a wildcard subscription (legacy form of "*").
            wildcard = not request.subscribe and request.type_url in WILDCARDS
            held = {} if self._warms(request.type_url) else dict(request.initial_versions)
            subscription = self._subscriptions[request.type_url] = _Subscription(wildcard=wildcard, held=held)
        asked = subscription.want(request.subscribe, request.unsubscribe)
        if request.nonce and request.nonce == subscription.awaited:
            subscription.heard(request.nonce, request.error)
        yield from self._answer(request.type_url, even_if_empty=first or asked)
        if request.type_url == CLUSTER and ENDPOINT in self._subscriptions:
            yield from self._answer(ENDPOINT)

    def offer(self, view: View) -> Iterator[Response]:
        """The mesh changed: this is everything the proxy should have now."""
        self._view = view
        for type_url in ORDER:
            if type_url in self._subscriptions:
                yield from self._answer(type_url)

    def standings(self) -> Mapping[TypeUrl, Standing]:
        """How every subscribed type stands."""
        return {
            url: Standing(it.sent, it.acked, it.error) for url, it in sorted(self._subscriptions.items())
        }  # fmt: skip

    def _answer(self, type_url: TypeUrl, *, even_if_empty: bool = False) -> Iterator[Response]:
        subscription = self._subscriptions[type_url]
        subscription.owed = subscription.owed or even_if_empty
        if subscription.awaited or self._view is None:
            return  # one response at a time: the next is made when this one is acknowledged
        available = self._view.get(type_url, _NOTHING)
        if available is subscription.told and not subscription.owed:
            return  # the very mapping it was told: views share what did not change
        changed, removed = subscription.difference(available)
        subscription.told = available
        if not (changed or removed or subscription.owed):
            return
        self._nonces += 1
        subscription.send(str(self._nonces), changed, removed)
        if type_url == CLUSTER and (endpoints := self._subscriptions.get(ENDPOINT)):
            endpoints.miss(it.name for it in changed)
        yield Response(type_url, subscription.awaited, changed, removed)

    def _warms(self, type_url: TypeUrl) -> bool:
        """Whether a proxy that returns still waits for endpoints, although it has some.

        Envoy speaks of clusters first, but says nothing of them while one that was changed waits for its endpoints.
        """
        return type_url == ENDPOINT and CLUSTER not in self._subscriptions


_NOTHING: Mapping[str, Resource] = {}


@dataclass(slots=True)
class _Subscription:
    wildcard: bool
    held: dict[str, str]
    names: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)  # asked for since the last answer
    owed: bool = False  # an answer is due even when there is nothing to say
    told: Mapping[str, Resource] | None = None  # with which ``held`` agrees
    awaited: str = ""
    sent: str = ""
    acked: str = ""
    error: str = ""

    def want(self, subscribe: frozenset[str], unsubscribe: frozenset[str]) -> bool:
        """Change the interest; whether names were asked for, which always get an answer."""
        self.wildcard = (self.wildcard or "*" in subscribe) and "*" not in unsubscribe
        asked = subscribe - {"*"}
        new = asked - self.names
        self.names = (self.names | asked) - unsubscribe
        if len(self.names) > MOST_NAMES:
            raise GreedyError(f"a stream subscribes to at most {MOST_NAMES} names of a type")
        if subscribe or unsubscribe:
            self.told = None
        for name in asked:
            if name not in new or self.wildcard:
                self.held.pop(name, None)  # asking again means: I do not have it
        self.missing = (self.missing | asked) - unsubscribe
        for name in unsubscribe - {"*"}:
            self.held.pop(name, None)  # the proxy forgets by itself what it no longer wants
        if self.wildcard:
            # It cannot know whether all of them still include what it unsubscribed from: it is told.
            self.missing |= unsubscribe - {"*"}
        return bool(asked or (self.wildcard and unsubscribe - {"*"}))

    def miss(self, names: Iterable[str]) -> None:
        """Clusters are replaced: Envoy waits for their endpoints anew, and does not ask again for what it asked once.

        Until they come it neither uses the cluster nor acknowledges it (https://github.com/envoyproxy/envoy/issues/13009).
        """
        for name in self.names.intersection(names):
            self.held.pop(name, None)
            self.missing.add(name)
            self.told = None

    def difference(self, available: Mapping[str, Resource]) -> tuple[tuple[Resource, ...], tuple[str, ...]]:
        """What it must be told to have what it should."""
        wanted = available if self.wildcard else {it: available[it] for it in self.names & available.keys()}
        # Sorted is what changed, which is little, not what is wanted, which is all.
        changed = tuple(sorted(it for it in wanted.values() if self.held.get(it.name) != it.version))
        # A name that was asked for and does not exist is answered as removed, so that the proxy need not wait.
        gone = {name for name in self.held if name not in wanted} | {
            it for it in self.missing if it not in wanted
        }
        return changed, tuple(sorted(gone))

    def send(self, nonce: str, changed: tuple[Resource, ...], removed: tuple[str, ...]) -> None:
        """Remember what is under way."""
        self.awaited = self.sent = nonce
        self.owed = False
        self.missing.clear()
        self.held.update({it.name: it.version for it in changed})
        for name in removed:
            self.held.pop(name, None)

    def heard(self, nonce: str, error: str) -> None:
        """The proxy accepted, or refused, what was sent. A refused version is not sent again until it changes."""
        self.awaited, self.error = "", error
        if not error:
            self.acked = nonce
