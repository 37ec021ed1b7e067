"""The demo beside a cluster that already runs on this machine.

skiff's addresses and its link have fixed names, so two clusters cannot share a network. When one is there, the
demo starts itself again in a network and mount namespace of its own, which end with it.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

_TAKEN = Path("/sys/class/net/skiff0")
#: Set in the second start, so that there is no third.
_MARK = "LATEEN_DEMO_ISOLATED"
_PREPARE = """
mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && mount --make-rshared /run/netns
mount -t sysfs sysfs /sys 2>/dev/null || true
PATH="$PATH:/usr/sbin:/sbin"; export PATH
ip link set lo up
exec "$@"
"""


def isolate() -> None:
    """Go on in a network of our own when another cluster holds this one; otherwise return.

    Replaces the process. Without root, or without ``unshare``, returns too: the first step then says what is missing.
    """
    if os.environ.get(_MARK) or os.geteuid() != 0 or not _TAKEN.exists() or not shutil.which("unshare"):
        return
    argv = [sys.executable, "-m", "lateen.cli.main", *sys.argv[1:]]
    unshare = ("unshare", "--net", "--mount", "--propagation", "private", "/bin/sh", "-c", _PREPARE, "demo")
    os.execvpe(unshare[0], [*unshare, *argv], {**os.environ, _MARK: "1"})  # noqa: S606  # a fixed script, our own words


def entrance(pid: int) -> str:
    """What a terminal of the user's runs first to reach the demo's cluster, whose daemon is ``pid``; empty: nothing."""
    return f"nsenter -t {pid} -n -m {os.environ.get('SHELL', '/bin/sh')}" if os.environ.get(_MARK) else ""


def api_port(usual: int = 6443) -> int:
    """A port of 127.0.0.1 for the API server: Kubernetes' own, or a free one when somebody listens there."""
    for wanted in (usual, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return usual
