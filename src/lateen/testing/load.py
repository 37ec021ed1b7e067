"""A server and a client for counting: the client keeps connections busy and says how many requests failed, and why.

Runs in pods as ``python load.py serve PORT`` and ``python load.py call HOST PORT CONNECTIONS``.
The client writes a line of JSON each second, and a last one when it is told to end.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import signal
import sys

#: A connection is given up after so many requests: new ones meet new certificates.
REQUESTS_PER_CONNECTION = 200
PATIENCE_S = 10.0
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-type: text/plain\r\n\r\nok\n"


class Server(asyncio.Protocol):
    """Answers every request that it has heard to the end; bodies are not expected."""

    def __init__(self) -> None:
        self._heard = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while b"\r\n\r\n" in self._heard:
            _, _, self._heard = self._heard.partition(b"\r\n\r\n")
            assert self._transport is not None
            self._transport.write(_ANSWER)


class Tally:
    """What came of the requests so far."""

    def __init__(self) -> None:
        self.good = 0
        self.bad: collections.Counter[str] = collections.Counter()

    def line(self, *, final: bool = False) -> str:
        return json.dumps(
            {"good": self.good, "failed": sum(self.bad.values()), "why": self.bad, "final": final}
        )


async def _converse(host: str, port: int, tally: Tally, stop: asyncio.Event) -> None:
    """One connection for a while."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), PATIENCE_S)
    try:
        for number in range(REQUESTS_PER_CONNECTION):
            if stop.is_set():
                return
            writer.write(f"GET /{number} HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
            fields = dict(line.lower().partition(b":")[::2] for line in head.split(b"\r\n")[1:] if line)
            await reader.readexactly(int(fields.get(b"content-length", b"0")))
            status = head.split(b" ", 2)[1]
            if status == b"200":
                tally.good += 1
            else:
                tally.bad[f"status {status.decode()}"] += 1
                await asyncio.sleep(0.05)
            if fields.get(b"connection", b"").strip() == b"close":
                return
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _keep_calling(host: str, port: int, tally: Tally, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            await _converse(host, port, tally, stop)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as wrong:
            tally.bad[f"{type(wrong).__name__}: {wrong}"[:120]] += 1
            await asyncio.sleep(0.05)


async def call(host: str, port: int, connections: int) -> None:
    """Call until told to end."""
    tally, stop = Tally(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(_keep_calling(host, port, tally, stop))
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
            print(tally.line(), flush=True)
    print(tally.line(final=True), flush=True)


async def serve(port: int) -> None:
    """Answer until told to end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Server, "0.0.0.0", port, backlog=512)
    async with server:
        await stop.wait()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2])))
    else:
        asyncio.run(call(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
