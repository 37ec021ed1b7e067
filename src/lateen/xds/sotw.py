"""What does a client of the state-of-the-world protocol hear? From the same views, for proxyless gRPC.

Each response holds every subscribed resource of its type, except that EDS and RDS may send those that changed
(https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#the-state-of-the-world-variants).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lateen.envoy.resource import CLUSTER, LISTENER, ORDER, Resource, TypeUrl, View
from lateen.xds.stream import Standing


@dataclass(frozen=True, slots=True)
class Request:
    """A DiscoveryRequest without its node. No names: all, for listeners and clusters."""

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
    held: dict[str, str] = field(default_factory=dict)
    awaited: str = ""
    sent: str = ""
    acked: str = ""
    error: str = ""


class StateStream:
    """The server's half of one state-of-the-world stream."""

    def __init__(self) -> None:
        self._view: View = {}
        self._subscriptions: dict[TypeUrl, _Subscription] = {}
        self._nonces = 0

    def receive(self, request: Request) -> Iterator[Response]:
        """A subscription, an acknowledgement or a refusal. An outdated nonce changes nothing."""
        subscription = self._subscriptions.get(request.type_url)
        first = subscription is None
        if subscription is None:
            subscription = self._subscriptions[request.type_url] = _Subscription(request.names)
        elif request.nonce != subscription.sent:
            return
        if request.nonce and request.nonce == subscription.awaited:
            subscription.awaited, subscription.error = "", request.error
            if not request.error:
                subscription.acked = request.nonce
        changed_interest = request.names != subscription.names
        subscription.names = request.names
        yield from self._answer(request.type_url, even_if_same=first or changed_interest)

    def offer(self, view: View) -> Iterator[Response]:
        """The mesh changed."""
        self._view = view
        for type_url in ORDER:
            if type_url in self._subscriptions:
                yield from self._answer(type_url)

    def standings(self) -> Mapping[TypeUrl, Standing]:
        """How every subscribed type stands."""
        return {url: Standing(it.sent, it.acked, it.error) for url, it in sorted(self._subscriptions.items())}

    def _answer(self, type_url: TypeUrl, *, even_if_same: bool = False) -> Iterator[Response]:
        subscription = self._subscriptions[type_url]
        if subscription.awaited and not even_if_same:
            return
        available = self._view.get(type_url, {})
        all_of_it = not subscription.names and type_url in (CLUSTER, LISTENER)
        wanted = [it for name, it in sorted(available.items()) if all_of_it or name in subscription.names]
        now = {it.name: it.version for it in wanted}
        if now == subscription.held and not even_if_same:
            return
        if not wanted and not even_if_same and type_url not in (CLUSTER, LISTENER):
            return  # a state-of-the-world client drops endpoints and routes with what referred to them
        self._nonces += 1
        subscription.awaited = subscription.sent = str(self._nonces)
        subscription.held = now
        yield Response(type_url, str(self._nonces), subscription.sent, tuple(wanted))
