"""Whose is this machine's network? One cluster's at a time: addresses and the host's link are the same for each.

The daemon holds an abstract unix socket, which the kernel keeps once for each network and frees with the daemon, however
it ends. Whoever connects is told the folder of the cluster that runs. The names of namespaces are each cluster's own, since
they lie in a folder that several networks may share; who uses them holds a lock on the node's namespace itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from pathlib import Path

from skiff.net.namespace import names_are_free

_ADDRESS = "\0skiff"
_PATIENCE_S = 2.0


class ClaimedError(Exception):
    """Another cluster runs here; the message is its folder."""


async def claim(home: Path) -> asyncio.Server:
    """Hold the network until the server is closed; ClaimedError when another cluster does."""

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(str(home).encode())
            await writer.drain()
        writer.close()

    if not names_are_free(home):
        raise ClaimedError(ELSEWHERE)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(_ADDRESS)
    except OSError as taken:
        made.close()
        if taken.errno != errno.EADDRINUSE:
            raise
        raise ClaimedError(holder() or "an unknown folder") from taken
    return await asyncio.start_unix_server(tell, sock=made)


#: Said of a daemon in another network that uses the same names.
ELSEWHERE = "another network namespace of this machine, whose names also lie in /run/netns"


def holder() -> str:
    """The folder of the cluster that runs on this network; empty when none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(_PATIENCE_S)
        try:
            asking.connect(_ADDRESS)
            told = asking.recv(4096)
        except TimeoutError:
            return "a cluster that does not answer"
        except OSError:
            return ""
        return told.decode(errors="replace") or "a cluster that is ending"
