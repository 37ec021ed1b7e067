"""How does a test get a network of its own? Network namespaces that nobody else sees, and that end with the process.

A namespace is held by a file descriptor alone: no name in ``/run/netns``, no link on the machine, nothing to clean up
after a crash.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_libc = ctypes.CDLL(None, use_errno=True)


def _own() -> int:
    return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _made() -> int:
    found: list[int] = []

    def unshare() -> None:
        _checked(_libc.unshare(_NEW_NETWORK))
        found.append(_own())

    # Threads have a network namespace each, so a short-lived one makes it without moving the caller.
    thread = threading.Thread(target=unshare)
    thread.start()
    thread.join()
    if not found:
        raise PermissionError("network namespaces need root")
    return found[0]


class Namespace:
    """A network namespace with nothing in it but its loopback device."""

    def __init__(self) -> None:
        self._fd = _made()
        self.ip("link set lo up")

    @property
    def path(self) -> str:
        """For programs that take a namespace as a file."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in it: sockets made meanwhile belong to it for ever."""
        before = _own()
        try:
            _checked(_libc.setns(self._fd, _NEW_NETWORK))
            yield
        finally:
            _checked(_libc.setns(before, _NEW_NETWORK))
            os.close(before)

    def call(self, make: Callable[[], T]) -> T:
        """What a function returns when called inside."""
        with self.entered():
            return make()

    def run(self, *command: str, text: str = "") -> str:
        """The output of a program that runs inside; its words are the error when it fails."""
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", *command], input=text, capture_output=True, text=True, check=False
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}\n{text}")
        return done.stdout

    def ip(self, *lines: str) -> None:
        """Lines of ``ip -batch``."""
        self.run("ip", "-batch", "-", text="\n".join(lines))

    def close(self) -> None:
        """Let go. What runs inside keeps it."""
        os.close(self._fd)


#: The network of all pods, and the node's own address in it.
NODE_ADDRESS = "10.244.0.1"
#: What lies outside of the mesh, but is near enough to be reached without a router.
OUTSIDE = "203.0.113"


class Ground:
    """A node: a bridge to which every pod is plugged."""

    def __init__(self) -> None:
        self.node = Namespace()
        self._plugged = 0
        self.node.ip(
            "link add mesh0 type bridge", "link set mesh0 up", f"addr add {NODE_ADDRESS}/16 dev mesh0",
            f"addr add {OUTSIDE}.1/24 dev mesh0", "route add unreachable default",
        )  # fmt: skip
        # Whoever asks for what is nowhere is told so at once.
        self.node.run("sysctl", "-qw", "net.ipv4.ip_forward=1")

    def plugged(self, address: str) -> Namespace:
        """A new namespace with this address."""
        made = Namespace()
        self._plugged += 1
        link = f"pod{self._plugged}"
        self.node.ip(
            f"link add {link} type veth peer name eth0 netns {made.path}", f"link set {link} master mesh0 up"
        )  # fmt: skip
        inside = not address.startswith(OUTSIDE)
        made.ip(
            "link set eth0 up",
            f"addr add {address}/{16 if inside else 24} dev eth0",
            f"route add {f'{OUTSIDE}.0/24' if inside else '10.244.0.0/16'} dev eth0",
            f"route add default via {NODE_ADDRESS if inside else f'{OUTSIDE}.1'}",
        )
        return made


#: As in a pod: in to 15006, out to 15001, and what Envoy (uid 1337) sends itself is left alone.
CAPTURE = """
table ip istio_proxy_nat {
  chain inbound { type nat hook prerouting priority -100; policy accept;
    meta l4proto != tcp return
    tcp dport { 22, 15000, 15008, 15020, 15021, 15090 } return
    meta l4proto tcp redirect to :15006
  }
  chain outbound { type nat hook output priority -100; policy accept;
    meta l4proto != tcp return
    oifname "lo" ip saddr 127.0.0.6 return
    oifname "lo" ip daddr != 127.0.0.1 meta skuid 1337 tcp dport != { 53, 15008 } redirect to :15006
    oifname "lo" meta skuid != 1337 return
    meta skuid 1337 return
    ip daddr 127.0.0.1 return
    meta l4proto tcp redirect to :15001
  }
}
"""
