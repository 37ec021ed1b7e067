"""The agent's own HTTP server, which everybody in the cluster may call and nobody may occupy.

Places are few, and each is owned by the address that took it. Whoever comes when all are taken gets the place of
another: of the address with the most, the oldest, and first of those who have not even asked. So a kubelet, who asks
at once and seldom, always finds one, whatever others do.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from lateen.agent.http import LARGEST_HEAD, ProtocolError, Request, Response, head

_log = logging.getLogger("http")

_LARGEST_REQUEST = 64 * 1024
#: For a request to arrive, and for an answer to be taken, seconds.
_ASK_S, _TAKE_S = 2.0, 30.0
_SLICE = 64 * 1024
#: Places in all, for one address, and what may lie there for those who are slow to take it, bytes.
_PLACES, _EACH, _OWED = 512, 64, 64 * 2**20
#: Connections that are taken at a time: less than an address may have, so that who asks at once is heard before
#: others can push it out. More wait in the kernel.
_ACCEPTED, _WAITING = 8, 1024

Handler = Callable[[Request], Awaitable[Response]]


class _Place:
    """One connection."""

    def __init__(self, address: str, writer: asyncio.StreamWriter) -> None:
        self.address = address
        self.asked = False
        self.owed = 0
        self._writer, self._task = writer, asyncio.current_task()

    def end(self) -> None:
        """Now, without an answer."""
        self._writer.transport.abort()
        if self._task:
            self._task.cancel()


class Places:
    """Who is here; each address with its places, the oldest first."""

    def __init__(self) -> None:
        self._by_address: dict[str, dict[_Place, None]] = {}
        self._taken = 0
        self._owed = 0

    def take(self, address: str, writer: asyncio.StreamWriter) -> _Place:
        """A place, if need be another's."""
        if len(self._by_address.get(address, ())) >= _EACH:
            self._evict(address)
        elif self._taken >= _PLACES:
            waiting = {it: sum(not one.asked for one in all_) for it, all_ in self._by_address.items()}
            if any(waiting.values()):
                self._evict(max(waiting, key=waiting.__getitem__))
            else:
                self._evict(max(self._by_address, key=lambda it: len(self._by_address[it])))
        place = _Place(address, writer)
        self._by_address.setdefault(address, {})[place] = None
        self._taken += 1
        return place

    def leave(self, place: _Place) -> None:
        """It is free again; nothing when it is already."""
        own = self._by_address.get(place.address, {})
        if place not in own:
            return
        del own[place]
        self._taken -= 1
        self._owed -= place.owed
        if not own:
            del self._by_address[place.address]

    def owe(self, place: _Place, size: int) -> None:
        """An answer waits to be taken. When there is too much of that, whoever lets most of it lie goes."""
        place.owed = size
        self._owed += size
        while self._owed > _OWED:
            others = (it for own in self._by_address.values() for it in own if it is not place)
            largest = max(others, key=lambda it: it.owed, default=None)
            if largest is None or not largest.owed:
                return
            self.leave(largest)
            largest.end()

    def _evict(self, address: str) -> None:
        own = self._by_address[address]
        chosen = next((it for it in own if not it.asked), next(iter(own)))
        self.leave(chosen)
        chosen.end()


async def serve(handler: Handler, port: int, host: str = "0.0.0.0") -> asyncio.Server:
    """Answer until closed. The handler bounds its own time; what it raises is a bug, and its asker sees 500."""
    places = Places()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        if not peer:
            writer.close()
            return
        place = places.take(str(peer[0]), writer)
        try:
            await _exchange(reader, writer, handler, places, place)
        except (OSError, ValueError, EOFError):
            pass  # the asker left, or was not one
        finally:
            places.leave(place)
            writer.close()

    made = socket.create_server((host, port), backlog=_WAITING)
    made.setblocking(False)
    try:
        server = await asyncio.start_server(connected, sock=made, limit=LARGEST_HEAD, backlog=_ACCEPTED)
    except BaseException:
        made.close()
        raise
    made.listen(_WAITING)  # asyncio has one number for both
    return server


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler, places: Places, place: _Place
) -> None:  # fmt: skip
    async with asyncio.timeout(_ASK_S):
        request = await _request(reader, place.address)
    place.asked = True
    try:
        response = await handler(request)
    except Exception:  # noqa: BLE001 - one broken page must not end the agent
        _log.exception("a bug while answering %s", request.path)
        response = Response(500, b"a bug in the agent; its log says more")
    places.owe(place, len(response.body))
    async with asyncio.timeout(_TAKE_S):
        writer.write(_head(response))
        body = memoryview(b"" if request.method == "HEAD" else response.body)
        for at in range(0, len(body), _SLICE):
            writer.write(body[at : at + _SLICE])
            await writer.drain()
        await writer.drain()


async def _request(reader: asyncio.StreamReader, peer: str) -> Request:
    first, headers = await head(reader)
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise ProtocolError("no HTTP/1.1 request")
    size = int(headers.get("content-length", "0"))
    if size > _LARGEST_REQUEST or "transfer-encoding" in headers:
        raise ProtocolError("the request has a body that no page here asks for")
    await reader.readexactly(size)
    return Request(words[0], words[1], headers, peer)


def _head(response: Response) -> bytes:
    try:
        reason = HTTPStatus(response.status).phrase
    except ValueError:
        reason = "Unknown"
    headers = {
        "content-type": "text/plain; charset=utf-8", **response.headers, "content-length": str(len(response.body)),
        "connection": "close",
    }  # fmt: skip
    lines = [f"HTTP/1.1 {response.status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
