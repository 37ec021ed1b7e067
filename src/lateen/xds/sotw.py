"""What does a client of the state-of-the-world protocol hear? From the same views, for proxyless gRPC.

Each response holds every subscribed resource of its type, except that EDS and RDS may send those that changed
(https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#the-state-of-the-world-variants).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lateen.envoy.resource import Resource, TypeUrl
from lateen.xds.limits import MOST_NAMES, GreedyError, check_stream, weight
from lateen.xds.sequence import NOTHING, USED, USERS
from lateen.xds.side import Side
from lateen.xds.standing import Refusals
from lateen.xds.stream import SERVED, WILDCARDS, all_of


@dataclass(frozen=True, slots=True)
class Request:
    """A DiscoveryRequest without its node. No names, and never any before: all, for listeners and clusters."""

    type_url: TypeUrl
    names: frozenset[str] = frozenset()
    nonce: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """A DiscoveryResponse."""

    type_url: TypeUrl
    version: str
    nonce: str
    resources: tuple[Resource, ...]


class StateStream(Side["_Subscription", Response]):
    """The server's half of one state-of-the-world stream."""

    def receive(self, request: Request, now: float) -> Iterator[Response]:
        """A subscription, an acknowledgement or a refusal. An outdated nonce changes nothing."""
        subscription = self._subscriptions.get(request.type_url)
        if subscription is None:
            self._check_room(request.type_url)
            subscription = self._subscriptions[request.type_url] = _Subscription()
        elif request.nonce != subscription.sent:
            return
        if request.nonce and request.nonce == subscription.awaited:
            subscription.heard(request.nonce, request.error)
        # Nothing is ever sent of a type that is not served, so that its names need not be kept.
        names = request.names if request.type_url in SERVED else frozenset[str]()
        subscription.want(names, may_be_all=request.type_url in WILDCARDS)
        check_stream(self.weight)
        yield from self._advance(now)

    def _answer(self, type_url: TypeUrl, now: float) -> Iterator[Response]:
        subscription = self._subscriptions.get(type_url)
        if subscription is None or subscription.awaited or self._view is None:
            return
        available = self._view.get(type_url, NOTHING)
        if subscription.told is available and not subscription.owed and not subscription.doomed:
            return
        if type_url in USERS and not self._sequence.may_tell(self._subscriptions, self._view, now):
            return
        wanted = {
            name: it for name, it in available.items() if subscription.wildcard or name in subscription.names
        }  # fmt: skip
        subscription.told = available
        doomed = {
            name: subscription.doomed.get(name, now) for name in subscription.held if name not in wanted
        }
        if doomed:
            removable = self._sequence.removable if type_url in USED else all_of
            gone = removable(doomed, self._subscriptions, self._view, now)
            doomed = {name: since for name, since in doomed.items() if name not in gone}
        subscription.doomed = doomed
        present = {**{name: subscription.held[name] for name in doomed}, **wanted}
        if present == subscription.held and not subscription.owed:
            return
        if not present and type_url not in WILDCARDS:
            subscription.held = {}
            return  # a state-of-the-world client drops endpoints and routes with what referred to them
        self._nonces += 1
        subscription.send(str(self._nonces), present)
        resources = tuple(it for _, it in sorted(present.items()))
        yield Response(type_url, str(self._nonces), subscription.sent, resources)


@dataclass(slots=True)
class _Subscription:
    names: frozenset[str] = frozenset()
    wildcard: bool = False
    owed: bool = True  # an answer is due even when nothing changed
    held: dict[str, Resource] = field(default_factory=dict)
    doomed: dict[str, float] = field(default_factory=dict)  # held, in no view any more since, and still sent
    told: Mapping[str, Resource] | None = None
    awaited: str = ""
    sent: str = ""
    acked: str = ""
    refusals: Refusals = field(default_factory=Refusals)
    weight: int = 0

    @property
    def error(self) -> str:
        """The words of the last refusal that stands."""
        return self.refusals.words

    def behind(self, available: Mapping[str, Resource]) -> bool:
        """Whether there may be more to say of these than was said."""
        return self.told is not available and self.told != available

    def lags(self, available: Mapping[str, Resource]) -> bool:
        """Whether something is still to be told, held back or not."""
        return bool(self.doomed) or (self.behind(available) and bool(self.sent))

    def want(self, names: frozenset[str], *, may_be_all: bool) -> None:
        """Change the interest. Who named something once no longer means all by naming nothing."""
        if len(names) > MOST_NAMES:
            raise GreedyError(
                f"a stream subscribes to at most {MOST_NAMES} names of a type: narrow what this client is to know"
            )
        nothing_named = not names and (self.wildcard or not self.sent)
        wildcard = may_be_all and ("*" in names or nothing_named)
        if names == self.names and wildcard == self.wildcard:
            return  # an acknowledgement
        self.weight = weight(names)
        self.wildcard = wildcard
        self.owed = self.owed or bool(names - self.names)
        self.held = {name: it for name, it in self.held.items() if self.wildcard or name in names}
        self.names, self.told = names, None

    def send(self, nonce: str, present: dict[str, Resource]) -> None:
        """Remember what is under way."""
        changed = [(name, it.version) for name, it in present.items() if it != self.held.get(name)]
        gone = self.held.keys() - present.keys()
        self.awaited = self.sent = nonce
        self.held, self.owed = present, False
        self.refusals.sending(changed, gone)

    def heard(self, nonce: str, error: str) -> None:
        """The client accepted, or refused, what was sent. A refused version is not sent again until it changes."""
        self.awaited = ""
        self.refusals.heard(error)
        if not error:
            self.acked = nonce
