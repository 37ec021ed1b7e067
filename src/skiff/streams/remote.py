"""How does a client use a command in a container? ``exec`` and ``attach``: input, both outputs, an end, a window's size.

The protocols: https://kubernetes.io/blog/2024/08/20/websockets-transition/ and k8s.io/apimachinery's ``remotecommand``.
v5 adds the end of stdin, v4 an exit code in form of a Status.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, Protocol

from aiohttp import web

from skiff.api import ExecSession
from skiff.log import Log
from skiff.queries import truth
from skiff.streams import websocket
from skiff.streams.channels import (
    CLOSE,
    ERROR,
    RESIZE,
    STDERR,
    STDIN,
    STDOUT,
    SpdyChannels,
    WebSocketChannels,
)
from skiff.streams.upgrade import is_spdy, upgraded

_log = Log()

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
#: Letters of a terminal's size.
_LONGEST_SIZE = 200
SPDY_PROTOCOLS = ("v4.channel.k8s.io",)


class Channels(Protocol):
    """The client's channels, whatever carries them."""

    async def send(self, channel: int, content: bytes) -> None: ...
    def received(self) -> AsyncIterator[tuple[int, bytes]]: ...
    async def close(self) -> None: ...


async def serve(request: web.Request, session: ExecSession) -> web.StreamResponse:
    """Connect the client with the session until one of them ends; the session is over afterwards."""
    try:
        channels: WebSocketChannels | SpdyChannels
        if is_spdy(request):
            channels = SpdyChannels(await upgraded(request, SPDY_PROTOCOLS), _expected(request))
        else:
            channels = WebSocketChannels(await websocket.opened(request, PROTOCOLS))
        await _connect(request, channels, session)
        return channels.response
    finally:
        await session.kill()


def _expected(request: web.Request) -> frozenset[int]:
    """The channels that a client opens for what it asked for."""
    named = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "tty": RESIZE}
    # A terminal has one output, even for clients that ask for two.
    silent = {"stderr"} if truth(request, "tty") else set()
    return frozenset(
        {ERROR, *(it for name, it in named.items() if truth(request, name) and name not in silent)}
    )


async def _connect(request: web.Request, channels: Channels, session: ExecSession) -> None:
    said = {name: truth(request, name) for name in ("stdin", "stdout", "stderr")}
    chosen = {n for n, name in ((STDOUT, "stdout"), (STDERR, "stderr")) if said[name]}
    if not said["stdin"]:
        await session.write(None)
    hears = asyncio.ensure_future(_hear(channels, session, stdin=said["stdin"]))
    speaks = asyncio.ensure_future(_speak(channels, session, chosen))
    try:
        await asyncio.wait({hears, speaks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for it in (hears, speaks):
            it.cancel()
        await asyncio.gather(hears, speaks, return_exceptions=True)
        await channels.close()


async def _hear(channels: Channels, session: ExecSession, *, stdin: bool) -> None:
    async for channel, content in channels.received():
        if channel == STDIN and stdin and content:
            await session.write(content)
        elif channel == RESIZE:
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, OverflowError):
                size = json.loads(content[:_LONGEST_SIZE])
                await session.resize(_cells(size["Width"]), _cells(size["Height"]))
        elif channel == CLOSE and content[:1] == bytes([STDIN]) and stdin:
            await session.write(None)


def _cells(given: Any) -> int:
    """Of a terminal, which counts them in two bytes."""
    return min(max(int(given), 0), 65535)


async def _speak(channels: Channels, session: ExecSession, chosen: set[int]) -> None:
    try:
        # Clients wait for a first message, which says that the command runs.
        await channels.send(min(chosen, default=ERROR), b"")
        async for channel, content in session.output():
            if channel in chosen:
                await channels.send(channel, content)
        status = status_of(await session.wait())
    except ConnectionError:
        return  # the client left
    except Exception as wrong:  # noqa: BLE001  # whatever it is, the client is told and the daemon goes on
        _log.exception("a command in a container went wrong")
        status = _failure("InternalError", f"Internal error occurred: {wrong}")
    with contextlib.suppress(ConnectionError):
        await channels.send(ERROR, json.dumps(status).encode())


def status_of(code: int) -> dict[str, Any]:
    """How a command ended, as clients read it."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    said = f"command terminated with non-zero exit code: exit status {code}"
    causes = {"causes": [{"reason": "ExitCode", "message": str(code)}]}
    return {**_failure("NonZeroExitCode", said), "details": causes}


def _failure(reason: str, message: str) -> dict[str, Any]:
    return {"metadata": {}, "status": "Failure", "reason": reason, "message": message}
