"""What does Envoy say of itself, and how is it told something? Its admin interface, on the loopback only."""

from __future__ import annotations

from lateen.agent import http
from lateen.agent.http import Endpoint

_TIMEOUT_S = 3.0


class AdminError(OSError):
    """Envoy does not answer as it should."""


async def get(port: int, path: str, timeout_s: float = _TIMEOUT_S) -> str:
    """A page; OSError."""
    return await _asked(port, path, "GET", timeout_s)


async def post(port: int, path: str, timeout_s: float = _TIMEOUT_S) -> str:
    """Make a change; OSError."""
    return await _asked(port, path, "POST", timeout_s)


async def figures(port: int, pattern: str) -> dict[str, int]:
    """Counters and gauges whose names match; OSError."""
    found = {}
    for line in (await get(port, f"/stats?filter={pattern}")).splitlines():
        name, _, value = line.rpartition(": ")
        if value.isdigit():
            found[name] = int(value)
    return found


async def _asked(port: int, path: str, method: str, timeout_s: float) -> str:
    answer = await http.fetch(Endpoint("127.0.0.1", port), path, method=method, timeout_s=timeout_s)
    if answer.status != 200:
        raise AdminError(f"Envoy answers {method} {path} with {answer.status}")
    return answer.body.decode(errors="replace")
