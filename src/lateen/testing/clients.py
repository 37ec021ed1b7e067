"""What does an application get? Requests and connections out of a pod, and steady load that counts what fails."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Header names are lower case; the last of a name wins."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float = 0.0

    @property
    def said(self) -> dict[str, Any]:
        """What the application heard, as it tells."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def who(self) -> str:
        """Which pod answered; empty when it was no application."""
        return str(self.said.get("who", "")) if self.body.startswith(b"{") else ""


def request(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: Sequence[tuple[str, str]],
    body: bytes = b"",
) -> Answer:
    """One request over an open connection. ``Host`` is among the headers."""
    begun = time.monotonic()
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    if body:
        connection.putheader("content-length", str(len(body)))
    connection.endheaders(body or None)
    response = connection.getresponse()
    content = response.read()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, found, content, time.monotonic() - begun)


def http_connection(made: socket.socket, timeout: float = TIMEOUT_S) -> http.client.HTTPConnection:
    """HTTP over a socket of our own."""
    connection = http.client.HTTPConnection("unused", timeout=timeout)
    made.settimeout(timeout)
    connection.sock = made
    return connection


def line(made: socket.socket, text: str = "") -> str:
    """Send a line if there is one, and return the line that comes; empty when the other side closed."""
    if text:
        made.sendall(f"{text}\n".encode())
    found = b""
    while not found.endswith(b"\n"):
        more = made.recv(4096)
        if not more:
            break
        found += more
    return found.decode().strip()


@dataclass
class Load:
    """The same call again and again from several threads: ``with Load(call): change something``."""

    call: Callable[[], str]
    workers: int = 16
    pause_s: float = 0.02
    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.workers)]

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(self.call())
            except (OSError, AssertionError, http.client.HTTPException) as wrong:
                self.failures.append(repr(wrong))
            self._stop.wait(self.pause_s)

    def __enter__(self) -> Self:
        for it in self._threads:
            it.start()
        self.wait_for(self.workers)
        return self

    def wait_for(self, more: int, timeout_s: float = 30.0) -> None:
        """Until so many more answers (or failures) came."""
        goal, end = len(self.answers) + len(self.failures) + more, time.monotonic() + timeout_s
        while len(self.answers) + len(self.failures) < goal:
            assert time.monotonic() < end, f"no answers any more: {self.failures[-3:]}"
            time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for it in self._threads:
            it.join(TIMEOUT_S + 1)


async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass on what comes, until one side ends."""
    try:
        while piece := await source.read(65536):
            target.write(piece)
            await target.drain()
    except ConnectionError:
        pass
    finally:
        target.close()
