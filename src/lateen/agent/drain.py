"""How does a proxy end without breaking a request? It asks its peers to leave, and waits for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

from lateen.agent import admin
from lateen.agent.settings import SIDECAR, Settings
from lateen.envoy import wellknown

_log = logging.getLogger("drain")

_ESTABLISHED, _LISTENING = "01", "0A"
_LOOK_EVERY_S = 0.2
#: A native sidecar is told to end after its application: only what is still in Envoy's buffers has to get out.
_AFTER_APPLICATION_S = 0.5
#: Of the pod's grace, what Envoy and the agent need to end by themselves: killed, they would break what still goes on.
_LAST_S = 2.0
#: Gateways listen where their Gateway objects say; these are for those who watch over them.
_OWN_PORTS = frozenset(
    {wellknown.ADMIN_PORT, wellknown.AGENT_PORT, wellknown.READY_PORT, wellknown.STATS_PORT}
)


async def begin(it: Settings) -> None:
    """Tell peers: connections get ``Connection: close`` or GOAWAY with their next response."""
    # A sidecar goes on carrying what its application sends; a native one also what still comes in, as long as it takes.
    way = "inboundonly&" if it.kind == SIDECAR else ""
    way += "skip_exit&" if it.native else ""
    for path in ("/healthcheck/fail", f"/drain_listeners?{way}graceful"):
        try:
            await admin.post(it.proxy.admin_port, path)
        except OSError as wrong:
            _log.warning("Envoy does not drain: %s", wrong or type(wrong).__name__)


async def patiently(it: Settings) -> None:
    """The time that peers get: as configured, within what the kubelet grants."""
    if it.native:
        await asyncio.sleep(min(_AFTER_APPLICATION_S, it.proxy.termination_drain_s))
        return
    ports = _entrances(it)  # now: a listener that has drained is gone, while its connections may go on
    loop = asyncio.get_running_loop()
    left_s = max(it.grace_s - _LAST_S, 0.0)
    end = loop.time() + left_s
    await asyncio.sleep(min(it.proxy.termination_drain_s, left_s))
    while it.exit_on_zero_connections and loop.time() < end and (count := connections(ports)):
        _log.info("connections that are still open: %d", count)
        await asyncio.sleep(_LOOK_EVERY_S)


def _entrances(it: Settings) -> frozenset[int]:
    """The local ports by which connections come to the proxy that it should not break."""
    if it.kind == SIDECAR:
        return frozenset({wellknown.INBOUND_PORT, wellknown.OUTBOUND_PORT})
    ports = {*_OWN_PORTS, it.proxy.admin_port, it.proxy.status_port}
    return frozenset(port for port, state in _sockets() if state == _LISTENING) - ports


def connections(ports: frozenset[int]) -> int:
    """How many connections to these ports of the pod are open."""
    return sum(state == _ESTABLISHED and port in ports for port, state in _sockets())


def _sockets() -> Iterator[tuple[int, str]]:
    """(local port, state) of each TCP socket of the pod."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (Path("/proc/net") / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            yield int(words[1].rpartition(":")[2], 16), words[3]
