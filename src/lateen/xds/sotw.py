"""What does a client of the state-of-the-world protocol hear? From the same views, for proxyless gRPC.

Each response holds every subscribed resource of its type, except that EDS and RDS may send those that changed
(https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#the-state-of-the-world-variants).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lateen.envoy.resource import ORDER, Resource, TypeUrl, View
from lateen.xds.stream import MOST_NAMES, MOST_TYPES, WILDCARDS, GreedyError, Standing


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


@dataclass(slots=True)
class _Subscription:
    names: frozenset[str] = frozenset()
    wildcard: bool = False
    owed: bool = True  # an answer is due even when nothing changed
    held: dict[str, str] = field(default_factory=dict)
    awaited: str = ""
    sent: str = ""
    acked: str = ""
    error: str = ""

    def want(self, names: frozenset[str], *, may_be_all: bool) -> None:
        """Change the interest. Who named something once no longer means all by naming nothing."""
        if len(names) > MOST_NAMES:
            raise GreedyError(f"a stream subscribes to at most {MOST_NAMES} names of a type")
        nothing_named = not names and (self.wildcard or not self.sent)
        self.wildcard = may_be_all and ("*" in names or nothing_named)
        self.owed = self.owed or bool(names - self.names)
        self.held = {name: it for name, it in self.held.items() if self.wildcard or name in names}
        self.names = names


class StateStream:
    """The server's half of one state-of-the-world stream. Until the first view is offered it says nothing."""

    def __init__(self) -> None:
        self._view: View | None = None
        self._subscriptions: dict[TypeUrl, _Subscription] = {}
        self._nonces = 0

    def receive(self, request: Request) -> Iterator[Response]:
        """A subscription, an acknowledgement or a refusal. An outdated nonce changes nothing."""
        subscription = self._subscriptions.get(request.type_url)
        if subscription is None:
            if len(self._subscriptions) >= MOST_TYPES:
                raise GreedyError(f"a stream has at most {MOST_TYPES} types")
            subscription = self._subscriptions[request.type_url] = _Subscription()
        elif request.nonce != subscription.sent:
            return
        if request.nonce and request.nonce == subscription.awaited:
            subscription.awaited, subscription.error = "", request.error
            if not request.error:
                subscription.acked = request.nonce
        subscription.want(request.names, may_be_all=request.type_url in WILDCARDS)
        yield from self._answer(request.type_url)

    def offer(self, view: View) -> Iterator[Response]:
        """The mesh changed."""
        self._view = view
        for type_url in ORDER:
            if type_url in self._subscriptions:
                yield from self._answer(type_url)

    def standings(self) -> Mapping[TypeUrl, Standing]:
        """How every subscribed type stands."""
        return {url: Standing(it.sent, it.acked, it.error) for url, it in sorted(self._subscriptions.items())}

    def _answer(self, type_url: TypeUrl) -> Iterator[Response]:
        subscription = self._subscriptions[type_url]
        if subscription.awaited or self._view is None:
            return
        available = self._view.get(type_url, {})
        wanted = [
            it for name, it in sorted(available.items())
            if subscription.wildcard or name in subscription.names
        ]  # fmt: skip
        now = {it.name: it.version for it in wanted}
        if now == subscription.held and not subscription.owed:
            return
        if not wanted and type_url not in WILDCARDS:
            return  # a state-of-the-world client drops endpoints and routes with what referred to them
        self._nonces += 1
        subscription.awaited = subscription.sent = str(self._nonces)
        subscription.held, subscription.owed = now, False
        yield Response(type_url, str(self._nonces), subscription.sent, tuple(wanted))
