"""Which connections may stay? Those that ask something, that read what they are told, and are not too many of one address.

Looked at every second, from outside: neither HTTP nor TLS ends a connection that says nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Never
from weakref import WeakKeyDictionary, WeakSet

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from skiff.log import Log

_log = Log()


@dataclass(frozen=True)
class Bounds:
    """Seconds and numbers."""

    #: Until the first request of a connection is complete; later ones have ``keepalive_timeout``.
    first_s: float = 15.0
    #: Until somebody who is told something takes the next part of it. Streams of people may stand still.
    stalled_s: float = 60.0
    #: Connections and unsent bytes of one address; this machine's own have no such bound.
    connections: int = 256
    unsent: int = 64 * 1024 * 1024
    every_s: float = 1.0
    #: For a TLS handshake.
    handshake_s: float = 10.0


#: Connections which have asked something, and those on which people look at a stream.
_ASKED: WeakSet[asyncio.Transport] = WeakSet()
_PATIENT: WeakSet[asyncio.Transport] = WeakSet()


def asks(request: web.Request, *, patient: bool) -> None:
    """There is a request. ``patient``: its answer may stand still for as long as somebody wants."""
    if request.transport is not None:
        _ASKED.add(request.transport)
        (_PATIENT.add if patient else _PATIENT.discard)(request.transport)


class Site(web.SockSite):
    """A site where a TLS handshake has a limit of its own: until its end, a connection is in nobody's list."""

    handshake_s = Bounds.handshake_s

    async def start(self) -> None:
        """Accept connections."""
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None, "the runner is set up"
        self._server = await asyncio.get_running_loop().create_server(
            server, sock=self._sock, ssl=self._ssl_context, backlog=self._backlog, ssl_handshake_timeout=self.handshake_s
        )  # fmt: skip


@dataclass(slots=True)
class _Seen:
    since: float
    unsent: int = 0
    moved: float = field(default=0.0)  # when its unsent bytes became fewer


async def keep(server: web.Server, bounds: Bounds | None = None) -> Never:
    """End what may not stay, for as long as the server lives."""
    rules = bounds or Bounds()
    logging.getLogger("aiohttp.server").addFilter(_ours)
    seen: WeakKeyDictionary[asyncio.WriteTransport, _Seen] = WeakKeyDictionary()
    while True:
        now = asyncio.get_running_loop().time()
        for transport, address, why in list(_ended(server, seen, now, rules)):
            _log.info("a connection was ended", peer=address, reason=why)
            transport.abort()
        await asyncio.sleep(rules.every_s)


def _ours(record: logging.LogRecord) -> bool:
    """Not what clients say wrongly: it has its answer, and must not fill the log."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _ended(
    server: web.Server, seen: WeakKeyDictionary[asyncio.WriteTransport, _Seen], now: float, rules: Bounds
) -> Iterator[tuple[asyncio.WriteTransport, str, str]]:
    by_address: dict[str, list[tuple[bool, float, int, asyncio.WriteTransport]]] = defaultdict(list)
    for it in server.connections:
        transport = it.transport
        if not isinstance(transport, asyncio.WriteTransport) or transport.is_closing():
            continue
        known = seen.setdefault(transport, _Seen(now, moved=now))
        unsent = transport.get_write_buffer_size()
        if not unsent or unsent < known.unsent:
            known.moved = now
        known.unsent = unsent
        address = str((transport.get_extra_info("peername") or ("",))[0])
        if transport not in _ASKED and now - known.since > rules.first_s:
            yield transport, address, f"no request within {rules.first_s:g} s"
        elif transport not in _PATIENT and now - known.moved > rules.stalled_s:
            yield transport, address, f"nothing was read for {rules.stalled_s:g} s"
        elif not _here(address):
            by_address[address].append((transport in _ASKED, known.since, unsent, transport))
    for address, held in by_address.items():
        held.sort(key=lambda one: one[:2])  # those that never asked anything first, then the oldest
        for _, _, _, surplus in held[: max(0, len(held) - rules.connections)]:
            yield surplus, address, f"more than {rules.connections} connections of one address"
        left = sum(one[2] for one in held)
        for one in sorted(held, key=lambda one: -one[2]):
            if left <= rules.unsent:
                break
            left -= one[2]
            yield one[3], address, f"more than {rules.unsent} bytes wait to be read by one address"


def _here(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
