"""What does a container do when it begins and before it ends? Its lifecycle hooks.

https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/
"""

from __future__ import annotations

import asyncio
import signal

from skiff.api import Object
from skiff.node import probes


async def run(
    hook: Object, container: Object, place: probes.Place, execute: probes.Run, seconds: float
) -> str:
    """Run a lifecycle hook within ``seconds``; what went wrong, "" when nothing did."""
    try:
        if command := hook.get("exec"):
            async with asyncio.timeout(seconds):
                code, said = await execute(command.get("command") or [], seconds)
            return (said.strip()[-500:] or f"exit code {code}") if code else ""
        if get := hook.get("httpGet"):
            await probes.http_get(get, container, place, seconds)
        elif rest := hook.get("sleep"):
            await asyncio.sleep(min(float(rest.get("seconds") or 0), seconds))
    except Exception as raised:  # noqa: BLE001  # whatever a hook does wrong is told, and the node goes on
        return str(raised) or type(raised).__name__
    return ""


def stop_signal(container: Object) -> int:
    """What asks it to end."""
    name = (container.get("lifecycle") or {}).get("stopSignal") or "SIGTERM"
    return int(getattr(signal, name, signal.SIGTERM))
