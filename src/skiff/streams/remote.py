"""How does a client use a command in a container? ``exec`` and ``attach``: channels over one websocket.

The protocols: https://kubernetes.io/blog/2024/08/20/websockets-transition/ and k8s.io/apimachinery's ``remotecommand``.
The first byte of a message is its channel; v5 adds the end of stdin, v4 an exit code in form of a Status.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import structlog
from aiohttp import web

from skiff.api import ExecSession
from skiff.streams import websocket

_log = structlog.get_logger("skiff.streams")

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255


async def serve(request: web.Request, session: ExecSession) -> web.StreamResponse:
    """Connect the client with the session until one of them ends; the session is over afterwards."""
    try:
        socket = await websocket.opened(request, PROTOCOLS)
        query = request.query
        chosen = {n for n, name in ((_STDOUT, "stdout"), (_STDERR, "stderr")) if _truth(query.get(name, ""))}
        if not _truth(query.get("stdin", "")):
            await session.write(None)
        # Clients wait for a first message, which says that the command runs.
        await socket.send_bytes(bytes([min(chosen, default=_ERROR)]))
        hears = asyncio.ensure_future(_hear(socket, session, stdin=_truth(query.get("stdin", ""))))
        speaks = asyncio.ensure_future(_speak(socket, session, chosen))
        try:
            await asyncio.wait({hears, speaks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for it in (hears, speaks):
                it.cancel()
            await asyncio.gather(hears, speaks, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            await socket.close()
        return socket
    finally:
        await session.kill()


def _truth(text: str) -> bool:
    return text.lower() in ("1", "t", "true")


async def _hear(socket: web.WebSocketResponse, session: ExecSession, *, stdin: bool) -> None:
    async for message in websocket.messages(socket):
        if not message:
            continue
        channel, content = message[0], message[1:]
        if channel == _STDIN and stdin and content:
            await session.write(content)
        elif channel == _RESIZE:
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                size = json.loads(content)
                await session.resize(int(size["Width"]), int(size["Height"]))
        elif channel == _CLOSE and content[:1] == bytes([_STDIN]) and stdin:
            await session.write(None)


async def _speak(socket: web.WebSocketResponse, session: ExecSession, chosen: set[int]) -> None:
    try:
        async for channel, content in session.output():
            if channel in chosen:
                await socket.send_bytes(bytes([channel]) + content)
        status = status_of(await session.wait())
    except ConnectionError:
        return  # the client left
    except Exception as wrong:  # noqa: BLE001  # whatever it is, the client is told and the daemon goes on
        _log.exception("a command in a container went wrong")
        status = _failure("InternalError", f"Internal error occurred: {wrong}")
    with contextlib.suppress(ConnectionError):
        await socket.send_bytes(bytes([_ERROR]) + json.dumps(status).encode())


def status_of(code: int) -> dict[str, Any]:
    """How a command ended, as clients read it."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    said = f"command terminated with non-zero exit code: exit status {code}"
    causes = {"causes": [{"reason": "ExitCode", "message": str(code)}]}
    return {**_failure("NonZeroExitCode", said), "details": causes}


def _failure(reason: str, message: str) -> dict[str, Any]:
    return {"metadata": {}, "status": "Failure", "reason": reason, "message": message}
