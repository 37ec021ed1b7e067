"""An Envoy as far as the sequence of answers goes: what it holds, what it warms, and when it acknowledges.

It reads answers in the order in which they were sent, adds clusters at once and uses them when their endpoints came,
acknowledges clusters when all are warm, and asks for endpoints and routes when what names them arrives
(https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/cluster_manager#cluster-warming).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable

from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource, TypeUrl, View
from lateen.xds.sequence import USERS
from lateen.xds.stream import DeltaStream, Request, Response


class EnvoyModel:
    """One proxy with its stream. After every turn ``broken`` says what it would lose requests by; empty: nothing."""

    def __init__(self, view: View, chance: random.Random) -> None:
        self.has: dict[TypeUrl, dict[str, bytes]] = {it: {} for it in (CLUSTER, ENDPOINT, LISTENER, ROUTE)}
        self._versions: dict[TypeUrl, dict[str, str]] = {it: {} for it in self.has}
        self._chance = chance
        self.warming: set[str] = set()
        self._asked: dict[TypeUrl, set[str]] = {ENDPOINT: set(), ROUTE: set()}
        #: user -> the clusters that the view had, of those it names, as long as that user is in force.
        self._promised: dict[tuple[TypeUrl, str], frozenset[str]] = {}
        self.view = view
        self._views = [view]
        self._started = False  # listeners are asked for when the first clusters are warm
        self.connect()

    def connect(self) -> None:
        """A stream of its own, also after another one was lost."""
        self.stream = DeltaStream()
        self._incoming: deque[tuple[Response, int]] = deque()  # and of which view it was told
        self._outgoing: deque[Request] = deque()
        self._unacknowledged: str = ""
        self._hear(self.stream.offer(self.view, 0.0))
        self._silent = bool(self.warming)  # nothing is said of clusters while one warms
        for kind in self.has:
            if not (kind == CLUSTER and self._silent) and not (kind == LISTENER and not self._started):
                self._introduce(kind)

    def _introduce(self, kind: TypeUrl) -> None:
        names = frozenset(self._asked.get(kind, ()))
        if kind in (CLUSTER, LISTENER) or names:
            self._outgoing.append(Request(kind, names, initial_versions=dict(self._versions[kind])))

    def offered(self, view: View) -> None:
        """The mesh changed."""
        self.view = view
        self._views.append(view)
        for (kind, name), clusters in self._promised.items():
            now = view[kind].get(name)
            if now and now.body == self.has[kind].get(name):
                self._promised[kind, name] = clusters & view[CLUSTER].keys()
        self._hear(self.stream.offer(view, 0.0))

    def step(self) -> bool:
        """Read one answer, or say one thing; whether there was anything to do."""
        ways = [
            it for it in (self._read, self._say) if (self._incoming if it == self._read else self._outgoing)
        ]
        if not ways:
            return False
        self._chance.choice(ways)()
        return True

    def _hear(self, answers: Iterable[Response]) -> None:
        self._incoming.extend((it, len(self._views) - 1) for it in answers)

    def _say(self) -> None:
        self._hear(self.stream.receive(self._outgoing.popleft(), 0.0))

    def _read(self) -> None:
        it, told_of = self._incoming.popleft()
        wanted = self._asked.get(it.type_url)
        for one in it.resources:
            if wanted is None or one.name in wanted:
                self.has[it.type_url][one.name] = one.body
                self._versions[it.type_url][one.name] = one.version
                if it.type_url in USERS:
                    self._promised[it.type_url, one.name] = self._named(it.type_url, one, told_of)
        if it.type_url != ROUTE:  # Envoy keeps a route configuration as long as a listener wants it
            for name in it.removed:
                self._forget(it.type_url, name)
        if it.type_url == CLUSTER:
            self._clusters(it, self._views[told_of])
            return
        if it.type_url == ENDPOINT:
            self.warming -= {one.name for one in it.resources} | set(it.removed)
        if it.type_url == LISTENER:
            self._routes()
        self._outgoing.append(Request(it.type_url, nonce=it.nonce))
        self._warm()

    def _routes(self) -> None:
        """What listeners name is asked for, and what none names any more is dropped."""
        known = {name for view in self._views for name in view[ROUTE]}
        named = {it for it in known if any(_names(body, it) for body in self.has[LISTENER].values())}
        if new := frozenset(named - self._asked[ROUTE]):
            self._ask(ROUTE, new)
        if gone := frozenset(self._asked[ROUTE] - named):
            self._asked[ROUTE] -= gone
            self._outgoing.append(Request(ROUTE, unsubscribe=gone))
            for name in gone:
                self._forget(ROUTE, name)

    def _clusters(self, it: Response, view: View) -> None:
        self._unacknowledged = it.nonce
        names = frozenset(one.name for one in it.resources if one.name in view[ENDPOINT])
        self.warming |= names
        if new := names - self._asked[ENDPOINT]:
            self._ask(ENDPOINT, new)
        gone = self._asked[ENDPOINT].intersection(it.removed)
        if gone:
            self._asked[ENDPOINT] -= gone
            self._outgoing.append(Request(ENDPOINT, unsubscribe=frozenset(gone)))
            for name in gone:
                self._forget(ENDPOINT, name)
        self._warm()

    def _warm(self) -> None:
        if self._silent and not self.warming:
            self._silent = False
            self._introduce(CLUSTER)
        if self._unacknowledged and not self.warming:
            self._outgoing.append(Request(CLUSTER, nonce=self._unacknowledged))
            self._unacknowledged = ""
            if not self._started:
                self._started = True
                self._introduce(LISTENER)

    def _ask(self, kind: TypeUrl, names: frozenset[str]) -> None:
        self._asked[kind] |= names
        self._outgoing.append(Request(kind, names))

    def _forget(self, kind: TypeUrl, name: str) -> None:
        self.has[kind].pop(name, None)
        self._versions[kind].pop(name, None)
        self._promised.pop((kind, name), None)
        if kind == CLUSTER:
            self.warming.discard(name)

    def _named(self, kind: TypeUrl, user: Resource, told_of: int) -> frozenset[str]:
        """The clusters that a listener or a route names, of those that every view with it had since it was told."""
        views = self._views[told_of:]
        same = [
            views[0],
            *(it for it in views if user.name in it[kind] and it[kind][user.name].body == user.body),
        ]
        had = frozenset.intersection(*(frozenset(it[CLUSTER]) for it in same))
        return frozenset(it for it in had if _names(user.body, it))

    def broken(self) -> str:
        """Which listener or route names a cluster that is not there, or not warm for the first time."""
        for (kind, name), clusters in self._promised.items():
            if lost := clusters - self.has[CLUSTER].keys():
                return f"{kind.rpartition('.')[2]} {name} names {sorted(lost)}"
        return ""


def _names(body: bytes, name: str) -> bool:
    """In protobuf a text follows its length."""
    return len(name) < 128 and bytes([len(name)]) + name.encode() in body
