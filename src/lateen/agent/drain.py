"""How does a proxy end without breaking a request? It asks its peers to leave, and waits for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

from lateen.agent import admin
from lateen.agent.envoy_process import inbound_only
from lateen.agent.settings import Settings
from lateen.envoy import wellknown

_log = logging.getLogger("drain")

_ESTABLISHED = "01"
_LOOK_EVERY_S = 0.2
#: A native sidecar is told to end after its application: only what is still in Envoy's buffers has to get out.
_AFTER_APPLICATION_S = 0.5
#: Gateways listen where their Gateway objects say: there every connection counts that came from outside.
_OWN_PORTS = frozenset(
    {wellknown.ADMIN_PORT, wellknown.AGENT_PORT, wellknown.READY_PORT, wellknown.STATS_PORT}
)


async def begin(it: Settings) -> None:
    """Tell peers: connections get ``Connection: close`` or GOAWAY with their next response."""
    for path in ("/healthcheck/fail", f"/drain_listeners?{inbound_only(it)}graceful"):
        try:
            await admin.post(it.proxy.admin_port, path)
        except OSError as wrong:
            _log.warning("Envoy does not drain: %s", wrong or type(wrong).__name__)


async def patiently(it: Settings) -> None:
    """The time that peers get."""
    if it.native:
        await asyncio.sleep(min(_AFTER_APPLICATION_S, it.proxy.termination_drain_s))
        return
    await asyncio.sleep(it.proxy.termination_drain_s)
    while it.exit_on_zero_connections and (count := connections()):
        _log.info("%d connections are open", count)
        await asyncio.sleep(_LOOK_EVERY_S)


def connections() -> int:
    """How many connections were captured and are open; for a gateway, how many were accepted."""
    captured = {wellknown.INBOUND_PORT, wellknown.OUTBOUND_PORT}
    rows = [row for name in ("tcp", "tcp6") for row in _rows(Path("/proc/net") / name)]
    listening = {port for port, state in rows if state == "0A"} - _OWN_PORTS
    mine = captured if captured & listening else listening
    return sum(state == _ESTABLISHED and port in mine for port, state in rows)


def _rows(path: Path) -> Iterator[tuple[int, str]]:
    """(local port, state) of each socket of this network namespace."""
    try:
        lines = path.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        words = line.split()
        yield int(words[1].rpartition(":")[2], 16), words[3]
