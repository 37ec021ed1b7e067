"""Whose is this machine's network? One cluster's at a time: addresses, links and namespaces have fixed names.

The daemon holds an abstract unix socket, which the kernel keeps once for each network and frees with the daemon, however
it ends. Whoever connects is told the folder of the cluster that runs. The names of namespaces lie in a folder that several
networks may share: while the API of a cluster answers in there, they are another cluster's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from pathlib import Path

from skiff.net.kernel import socket_inside
from skiff.net.namespace import NODE
from skiff.settings import Settings

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

    if not names_are_free():
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


#: Said of a cluster in another network that uses the same names.
ELSEWHERE = "another network namespace of this machine, whose names also lie in /run/netns"


def names_are_free() -> bool:
    """Whether no living cluster, of this network or another, keeps its namespaces under the names that ours would have.

    Needs root where there are such names. What a killed daemon left answers nobody, and is free.
    """
    try:
        asking = socket_inside(NODE, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return True
    with asking:
        asking.settimeout(_PATIENCE_S)
        try:
            asking.connect((Settings().api_ip, 443))
        except TimeoutError:
            return False
        except OSError:
            return True
    return False


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
