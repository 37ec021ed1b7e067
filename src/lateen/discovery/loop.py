"""What happens when the mesh changes? Batch, apply, and offer every due view to those who wait for it.

The only place where the database moves. Everything runs on one event loop; a query never awaits.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import structlog

from lateen.compile.view import view
from lateen.envoy.resource import View
from lateen.incremental import Change, Database, Watch
from lateen.names.keys import ProxyKey
from lateen.observe import metrics
from lateen.registry.facts import Proxy

_log = structlog.get_logger("lateen.discovery")

#: A burst is one revision: wait until it is quiet for so long, and never longer than the second figure.
QUIET_S = 0.02
LONGEST_S = 0.5
#: What only removed facts led to is forgotten after so many removals.
SWEEP_AFTER = 256


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
        self._removals = 0
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
            due = {id(it) for it in self.db.apply(batch)}
        for key, watch in self._watches.items():
            if id(watch) in due:
                self._due.setdefault(key, since)
        self._removals += sum(it.value is None for it in batch)
        if self._removals >= SWEEP_AFTER:
            self._removals = 0
            self.db.sweep()

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
        self._due.update(failed)  # tried again at the next revision

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
        by what it said, and the later one's key carries a number: nobody can change what another is told.
        """
        self._apply_inbox()
        proxy = self._distinct(proxy)
        now = time.monotonic()
        self._apply([Change(Proxy, proxy.key, proxy)], now)
        if proxy.key not in self._watches:
            self._watches[proxy.key] = self.db.watch(view, proxy.key)
        self._due.pop(proxy.key, None)
        self._listeners.setdefault(proxy.key, []).append(listener)
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
        if listeners:
            return
        self._listeners.pop(key, None)
        self._due.pop(key, None)
        if watch := self._watches.pop(key, None):
            watch.close()
        self.put([Change(Proxy, key, None)])
