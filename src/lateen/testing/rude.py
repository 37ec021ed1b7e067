"""Callers without manners: requests byte by byte as a test wants them, and sockets that never finish a sentence."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

Connect = Callable[[], socket.socket]
HALF = b"GET /healthz/ready HTTP/1.1\r\nHost: x\r\n"


def said(connect: Connect, data: bytes, timeout_s: float = 5.0, until: bytes = b"") -> bytes:
    """All that is answered, up to some words if they are given; empty when the connection ends without any."""
    found = b""
    try:
        with connect() as made:
            made.settimeout(timeout_s)
            made.sendall(data)
            while (not until or until not in found) and (more := made.recv(65536)):
                found += more
    except OSError:
        pass
    return found


def status(connect: Connect, path: str, *, method: str = "GET", headers: Sequence[str] = ()) -> int:
    """The status of an answer to a path that is sent as it is; 0 for none."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
    words = said(connect, "\r\n".join(lines).encode(), until=b"\r\n").split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


@contextlib.contextmanager
def crowd(connects: Sequence[Connect], data: bytes = HALF) -> Iterator[None]:
    """Hold a connection of each kind, that has said ``data`` and says no more; whichever is closed is opened again."""
    over = threading.Event()

    def hold(each: Sequence[Connect]) -> None:
        held: list[socket.socket | None] = [None] * len(each)
        while not over.is_set():
            for at, connect in enumerate(each):
                if over.is_set():
                    break
                held[at] = _still(held[at]) or _opened(connect, data)
            time.sleep(0.005)
        for it in held:
            if it:
                it.close()

    parts = [connects[at::4] for at in range(4)]
    threads = [threading.Thread(target=hold, args=(it,)) for it in parts if it]
    for it in threads:
        it.start()
    try:
        time.sleep(0.5)
        yield
    finally:
        over.set()
        for it in threads:
            it.join()


def _still(made: socket.socket | None) -> socket.socket | None:
    if made is None:
        return None
    try:
        if made.recv(4096, socket.MSG_DONTWAIT):
            return made
    except BlockingIOError:
        return made
    except OSError:
        pass
    made.close()
    return None


def _opened(connect: Connect, data: bytes) -> socket.socket | None:
    try:
        made = connect()
        made.sendall(data)
    except OSError:
        return None
    return made
