"""How does a client open a websocket? Which of its protocols is spoken, and in which form its messages come."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import WSMsgType, web

from skiff.errors import ApiError

#: A message of a client is at most this large; kubectl sends 32 KiB.
LARGEST = 16 * 1024 * 1024


def offered(request: web.Request) -> list[str]:
    """The protocols which the client can speak, the best first."""
    said = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
    return [it.strip() for it in said.split(",") if it.strip()]


def is_websocket(request: web.Request) -> bool:
    """Whether the client wants one."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def opened(request: web.Request, known: tuple[str, ...]) -> web.WebSocketResponse:
    """An open websocket. Its ``ws_protocol`` is None when the client offers none; 400 when none of its is known."""
    wanted = offered(request)
    if wanted and not set(wanted) & set(known):
        raise ApiError(
            400, "BadRequest", f"unable to upgrade: none of the protocols {wanted} is spoken here: {list(known)}"
        )  # fmt: skip
    socket = web.WebSocketResponse(protocols=known, max_msg_size=LARGEST, compress=False, timeout=2.0)
    await socket.prepare(request)
    return socket


async def messages(socket: web.WebSocketResponse) -> AsyncIterator[bytes]:
    """What the client sends until it leaves."""
    async for message in socket:
        if message.type == WSMsgType.BINARY:
            yield message.data
        elif message.type == WSMsgType.TEXT:
            yield message.data.encode()
