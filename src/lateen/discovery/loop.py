"""What happens when the mesh changes? Batch, apply, and offer every due view to those who wait for it.

The only place where the database moves. Everything runs on one event loop; a query never awaits.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import structlog

from lateen.api.core import EndpointSlice, Pod
from lateen.compile.view import view
from lateen.envoy.resource import View
from lateen.incremental import Change, Database, Watch
from lateen.names.keys import ProxyKey
from lateen.observe import metrics
from lateen.registry.facts import Proxy
from lateen.xds.limits import GreedyError

_log = structlog.get_logger("lateen.discovery")

#: A burst is one revision: wait until it is quiet for so long, and never longer than the second figure.
QUIET_S = 0.02
LONGEST_S = 0.5
#: So many connections of one name are served: of one proxy that comes back before its last stream is known to be dead,
#: or of a pod's program that speaks gRPC with several channels.
MOST_OF_A_NAME = 16


#: What says where requests can go: a dead endpoint costs requests until it is told.
_URGENT = frozenset({EndpointSlice, Pod})


class Listener(Protocol):
    """Who wants a view: a connection."""

    def offer(self, found: View) -> None: ...


class Loop:
    """The database, its inbox, and who listens to which view."""

    def __init__(self, db: Database, *, record: Callable[[Sequence[Change]], None] | None = None) -> None:
        self.db = db
        self._record = record
        self._inbox: list[Change] = []
        self._since = 0.0  # when the oldest change of the inbox came
        self._wake = asyncio.Event()
        self._listeners: dict[ProxyKey, list[Listener]] = {}
        self._watches: dict[ProxyKey, Watch[View]] = {}
        self._due: dict[ProxyKey, float] = {}  # since when
        self._names: Counter[str] = Counter()  # connections of each
        self.synced = asyncio.Event()

    def put(self, changes: Iterable[Change]) -> None:
        """Facts that are different now. They are applied soon, in this order."""
        if not self._inbox:
            self._since = time.monotonic()
        self._inbox.extend(changes)
        if self._inbox:
            self._wake.set()

    @property
    def idle(self) -> bool:
        """Whether every change is applied, and every due view was offered."""
        return not (self._inbox or self._due)

    @property
    def behind_s(self) -> float:
        """For how long the oldest change has waited to be applied."""
        return time.monotonic() - self._since if self._inbox else 0.0

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._wake.wait()
            await self._quiet()
            self._apply_inbox()
            await self._offer_due()
            if self.db.grown:
                self.db.sweep()

    async def _quiet(self) -> None:
        end, seen = time.monotonic() + LONGEST_S, -1
        while seen != len(self._inbox) and time.monotonic() < end:
            seen = len(self._inbox)
            await asyncio.sleep(QUIET_S)

    def _apply_inbox(self) -> None:
        self._wake.clear()
        batch, self._inbox = self._inbox, []
        if batch:
            self._apply(batch, self._since)

    def _apply(self, batch: list[Change], since: float) -> None:
        if self._record:
            self._record(batch)
        with metrics.APPLY_SECONDS.time():
            due = {id(it) for it in self._applied(batch)}
        keys = [key for key, watch in self._watches.items() if id(watch) in due]
        if all(it.table in _URGENT for it in batch):
            self._hurry(keys, since)
        for key in keys:
            self._due.setdefault(key, since)
        if self.db.grown:
            self.db.sweep()

    def _hurry(self, keys: list[ProxyKey], since: float) -> None:
        """Before those who wait for something else, unless they have waited for long; among them nobody overtakes."""
        if self._due and since > next(iter(self._due.values())) + LONGEST_S:
            return
        urgent = set(keys)
        first = {key: moment for key, moment in self._due.items() if key in urgent}
        self._due = {**first, **{key: since for key in keys if key not in first}, **self._due, **first}

    def _applied(self, batch: list[Change]) -> list[Watch[View]]:
        try:
            return self.db.apply(batch)
        except Exception:  # noqa: BLE001  # nothing was stored; one fact must not take the others of its batch down
            due: list[Watch[View]] = []
            for it in batch:
                try:
                    due += self.db.apply([it])
                except Exception:  # noqa: BLE001
                    metrics.INTERNAL_ERRORS.inc()
                    _log.exception(
                        "a fact could not be applied: a bug", kind=it.table.__name__, key=str(it.key)
                    )
            return due

    async def _offer_due(self) -> None:
        failed: dict[ProxyKey, float] = {}
        while self._due:
            key = next(iter(self._due))
            since = self._due.pop(key)
            if self._offer(key):
                metrics.CONVERGENCE.observe(time.monotonic() - since)
            else:
                failed[key] = since
            await asyncio.sleep(0)  # requests and new facts may come between two views
            if self._inbox and time.monotonic() > self._since + QUIET_S:
                # What changed meanwhile is in the views that are still due, which then are made once, and not twice.
                self._apply_inbox()
        for key, since in failed.items():
            self._due.setdefault(key, since)  # tried again at the next revision

    def _offer(self, key: ProxyKey) -> bool:
        watch = self._watches.get(key)
        if watch is None:
            return True
        try:
            with metrics.VIEW_SECONDS.time():
                found = watch.value
        except Exception:  # noqa: BLE001  # a bug in one view never delays another
            metrics.VIEW_FAILURES.inc()
            _log.exception("a view could not be computed: the proxy keeps its last one", proxy=str(key))
            return False
        for it in list(self._listeners.get(key, ())):
            self._tell(it, found, key)
        return True

    @staticmethod
    def _tell(listener: Listener, found: View, key: ProxyKey) -> None:
        try:
            listener.offer(found)
        except Exception:  # noqa: BLE001  # a bug in one stream never delays another
            metrics.INTERNAL_ERRORS.inc()
            _log.exception("a view could not be told", proxy=str(key))

    def view(self, key: ProxyKey) -> View | None:
        """What a connected proxy should have now; none while that cannot be computed."""
        watch = self._watches.get(key)
        try:
            return watch.value if watch else None
        except Exception:  # noqa: BLE001  # it was logged when it was offered
            return None

    def join(self, proxy: Proxy, listener: Listener) -> Proxy:
        """A proxy connected: it becomes a fact, and hears its view at once, or as soon as there is one.

        Returns the fact. Where another connection of the same name says something else of itself, both are served, each
        by what it said, and the later one's key carries a number: nobody can change what another is told. GreedyError
        when there are too many of a name.
        """
        if self._names[_name(proxy.key)] >= MOST_OF_A_NAME:
            raise GreedyError(
                f'"{_name(proxy.key)}" is connected {MOST_OF_A_NAME} times already: is its name given to many?'
            )
        self._apply_inbox()
        proxy = self._distinct(proxy)
        now = time.monotonic()
        self._apply([Change(Proxy, proxy.key, proxy)], now)
        if proxy.key not in self._watches:
            self._watches[proxy.key] = self.db.watch(view, proxy.key)
        self._due.pop(proxy.key, None)
        self._listeners.setdefault(proxy.key, []).append(listener)
        self._names[_name(proxy.key)] += 1
        if not self._offer(proxy.key):
            self._due[proxy.key] = now
        elif self._due:
            self._wake.set()
        return proxy

    def _distinct(self, proxy: Proxy) -> Proxy:
        number, found = 1, proxy
        while found.key in self._listeners and self.db.get(Proxy, found.key) != found:
            number += 1
            found = dataclasses.replace(proxy, key=ProxyKey(f"{proxy.key.node_id}#{number}"))
        return found

    def leave(self, key: ProxyKey, listener: Listener) -> None:
        """It disconnected. The last connection of a proxy takes the fact with it."""
        listeners = self._listeners.get(key, [])
        if listener in listeners:
            listeners.remove(listener)
            self._names -= Counter([_name(key)])  # and none of zero stays
        if listeners:
            return
        self._listeners.pop(key, None)
        self._due.pop(key, None)
        if watch := self._watches.pop(key, None):
            watch.close()
        self.put([Change(Proxy, key, None)])


def _name(key: ProxyKey) -> str:
    """What the proxy says it is called, without the number of ``_distinct``."""
    return key.node_id.partition("#")[0]
