"""What happens when the mesh changes? Batch, apply, and offer every due view to those who wait for it.

The only place where the database moves. Everything runs on one event loop; a query never awaits.
"""

from __future__ import annotations

import asyncio
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
#: Views of proxies that left are forgotten after so many departures.
SWEEP_AFTER = 32


class Listener(Protocol):
    """Who wants a view: a connection."""

    def offer(self, found: View) -> None: ...


class Loop:
    """The database, its inbox, and who listens to which view."""

    def __init__(self, db: Database, *, record: Callable[[Sequence[Change]], None] | None = None) -> None:
        self.db = db
        self._record = record
        self._inbox: list[Change] = []
        self._wake = asyncio.Event()
        self._listeners: dict[ProxyKey, list[Listener]] = {}
        self._watches: dict[ProxyKey, Watch[View]] = {}
        self._due: dict[ProxyKey, None] = {}
        self._left = 0
        self.synced = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Whether every change is applied, and every due view was offered."""
        return not (self._inbox or self._due)

    def put(self, changes: Iterable[Change]) -> None:
        """Facts that are different now. They are applied soon, in this order."""
        self._inbox.extend(changes)
        if self._inbox:
            self._wake.set()

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
            self._apply(batch)

    def _apply(self, batch: list[Change]) -> None:
        if self._record:
            self._record(batch)
        with metrics.APPLY_SECONDS.time():
            due = {id(it) for it in self.db.apply(batch)}
        self._due.update(dict.fromkeys(key for key, it in self._watches.items() if id(it) in due))

    async def _offer_due(self) -> None:
        failed: dict[ProxyKey, None] = {}
        while self._due:
            key = next(iter(self._due))
            del self._due[key]
            if not self._offer(key):
                failed[key] = None
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
            it.offer(found)
        return True

    def join(self, proxy: Proxy, listener: Listener) -> View:
        """A proxy connected: it becomes a fact, and its view is computed at once."""
        self._apply_inbox()
        self._apply([Change(Proxy, proxy.key, proxy)])
        if proxy.key not in self._watches:
            self._watches[proxy.key] = self.db.watch(view, proxy.key)
        self._listeners.setdefault(proxy.key, []).append(listener)
        if self._due:
            self._wake.set()
        return self._watches[proxy.key].value

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
        self._left += 1
        if self._left >= SWEEP_AFTER:
            self._left = 0
            self.db.sweep()
