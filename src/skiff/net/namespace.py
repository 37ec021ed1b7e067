"""Where do the pods' packets go? One namespace for the node, one for each pod, routed veth pairs between them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import ipaddress
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from skiff.names import HOST_IP, NODE_IP
from skiff.net.kernel import NAMES, KernelRefusedError, inside, run, write_inside

HOST_LINK = "skiff0"
GATEWAY = "169.254.1.1"
#: How long what was killed may take to be gone.
_PATIENCE_S = 5.0
#: What the link says of itself, before the folder of the cluster that made it.
_ALIAS = "skiff of "
_LONGEST_ALIAS = 255


def prefix_of(home: Path) -> str:
    """How the names of a cluster's network namespaces begin: several networks may share the folder where those lie."""
    return f"skiff-{hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:6]}-"


def node_of(home: Path) -> str:
    """The name of the node's network namespace."""
    return f"{prefix_of(home)}node"


def maker() -> str:
    """The folder of the cluster to which this network's link belongs, whether a daemon runs or not; empty: none does."""
    if not _linked():
        return ""
    said = subprocess.run(
        ["ip", "link", "show", "dev", HOST_LINK], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    ).stdout  # fmt: skip
    return said.partition(f" alias {_ALIAS}")[2].split("\n")[0]


def _linked() -> bool:
    try:
        return bool(socket.if_nametoindex(HOST_LINK))
    except OSError:
        return False


def names_are_free(home: Path) -> bool:
    """Whether no living daemon, of this network or another, uses the names of this cluster."""
    try:
        os.close(_held(node_of(home)))
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _held(name: str) -> int:
    """The namespace itself is the lock: it lies where the name lies, and is free when its holder ends. BlockingIOError."""
    descriptor = os.open(NAMES / name, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def inode_of(name: str) -> int:
    """Tells a network namespace from another one that has its name later; 0: there is none."""
    try:
        return (NAMES / name).stat().st_ino
    except OSError:
        return 0


class NodeNetwork:
    """The namespaces and links of one cluster's node. Everything it makes goes away with ``remove``."""

    def __init__(self, home: Path, pod_cidr: str, service_cidr: str, local_ips: tuple[str, ...]) -> None:
        self._home, self._prefix, self.node = home, prefix_of(home), node_of(home)
        self._pods = ipaddress.IPv4Network(pod_cidr)
        self._services = service_cidr
        self._local = local_ips
        self._taken: dict[str, str] = {}
        self._last = 1
        self._inode, self._lock_held = 0, -1

    async def prepare(self, kept: Iterable[tuple[str, str, int]]) -> None:
        """The node's namespace and the host's way into it, as an earlier daemon left them, or made anew.

        ``kept`` are names, addresses and inodes of pods' namespaces. What is of nobody is removed, with what runs in there.
        """
        if inode_of(self.node):
            self._lock()
        if not (whole := self._whole()):
            await self._remove_link()
        own = {
            name: ip for name, ip, inode in kept if whole and name != self.node and inode_of(name) == inode
        }
        left = {*own, self.node} if whole else {*own}
        await self._remove_names([it for it in self._names() if it not in left])
        if not whole:
            await self._make()
        self._taken = {ip: name for name, ip in own.items()}
        self._inode = inode_of(self.node)
        links = self.links()
        for ip, name in list(self._taken.items()):
            if _link(ip) not in links:  # somebody has cut it off
                await self.remove_pod(name, ip)
        for it in links - {_link(ip) for ip in self._taken}:
            if it.startswith("v"):
                await run("ip", "-n", self.node, "link", "del", it, check=False)

    def _lock(self) -> None:
        try:
            held = _held(self.node)
        except BlockingIOError:
            raise KernelRefusedError(f"another daemon uses the network namespace {self.node}") from None
        self.unlock()
        self._lock_held = held

    def unlock(self) -> None:
        """The names may be another daemon's from now on."""
        if self._lock_held >= 0:
            os.close(self._lock_held)
        self._lock_held = -1

    def _whole(self) -> bool:
        """Whether the node's namespace and our link are there. The alias is given last."""
        return bool(inode_of(self.node)) and maker() == self._alias()

    def _alias(self) -> str:
        return str(self._home.resolve())[: _LONGEST_ALIAS - len(_ALIAS)]

    async def _make(self) -> None:
        node = self.node
        await run("ip", "netns", "add", node)
        self._lock()
        await run(
            "ip", "-batch", "-",
            feed=f"link add {HOST_LINK} type veth peer name uplink netns {node}\n"
            f"addr add {HOST_IP}/30 dev {HOST_LINK}\nlink set {HOST_LINK} up\n",
        )  # fmt: skip
        addresses = "".join(f"addr add {ip}/32 dev lo\n" for ip in (GATEWAY, *self._local))
        await run(
            "ip", "-n", node, "-batch", "-",
            feed=f"link set lo up\naddr add {NODE_IP}/30 dev uplink\nlink set uplink up\n"
            f"{addresses}route add default via {HOST_IP}\n",
        )  # fmt: skip
        routes = f"route add {self._pods} via {NODE_IP}\nroute add {self._services} via {NODE_IP}\n"
        await run("ip", "-batch", "-", feed=routes)
        await run("ip", "netns", "exec", node, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        await run("ip", "link", "set", "dev", HOST_LINK, "alias", f"{_ALIAS}{self._alias()}")

    def links(self) -> set[str]:
        """The names of the links in the node's namespace."""
        return inside(self.node, lambda: {name for _, name in socket.if_nameindex()})

    def lost(self) -> bool:
        """Whether somebody removed what all pods hang on."""
        return inode_of(self.node) != self._inode or not _linked()

    def holds(self, name: str, ip: str, inode: int, links: set[str] | None = None) -> bool:
        """Whether a pod's place in the network is still there."""
        if inode_of(name) != inode:
            return False
        return name == self.node or (self._taken.get(ip) == name and (links is None or _link(ip) in links))

    async def add_pod(self) -> tuple[str, str]:
        """(name of a new namespace, its IP). When the kernel refuses, nothing of it is left."""
        ip = self._free()
        name = f"{self._prefix}{ipaddress.IPv4Address(ip).packed.hex()}"
        self._taken[ip] = name
        try:
            await self._make_pod(name, ip)
        except BaseException:
            await self.remove_pod(name, ip)
            raise
        return name, ip

    async def _make_pod(self, name: str, ip: str) -> None:
        link = _link(ip)
        await run("ip", "netns", "add", name)  # not in the batch: ``-n`` has mounts of its own
        await run(
            "ip", "-n", self.node, "-batch", "-",
            feed=f"link add {link} type veth peer name eth0 netns {name}\n"
            f"link set {link} up\nroute add {ip}/32 dev {link}\n",
        )  # fmt: skip
        await run(
            "ip", "-n", name, "-batch", "-",
            feed=f"link set lo up\naddr add {ip}/32 dev eth0\nlink set eth0 up\n"
            f"route add {GATEWAY} dev eth0 scope link\nroute add default via {GATEWAY} dev eth0\n",
        )  # fmt: skip
        # As containerd does: any user of a pod may listen on port 80.
        write_inside(name, "/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")

    async def remove_pod(self, name: str, ip: str) -> None:
        """Remove a pod's namespace, and with it its link; the address is free again."""
        await run("ip", "-n", self.node, "link", "del", _link(ip), check=False)
        await self._remove_names([name])
        self._taken.pop(ip, None)

    async def remove(self, *, alone: bool = True) -> None:
        """Remove every namespace, link and route of this cluster, and whatever still runs in there.

        ``alone``: no other cluster runs on this network, so that a link which is nobody's yet is none of another's.
        """
        if alone or maker():
            await self._remove_link()
        await self._remove_names(self._names())
        self._taken.clear()
        self.unlock()

    async def _remove_link(self) -> None:
        """Ours, or one which a daemon that was killed had not yet called its own."""
        if maker() in ("", self._alias()):
            await run("ip", "link", "del", HOST_LINK, check=False)

    def _names(self) -> list[str]:
        return sorted(it.name for it in NAMES.glob(f"{self._prefix}*"))

    async def _remove_names(self, names: list[str]) -> None:
        await _empty(names)
        for it in names:
            await run("ip", "netns", "del", it, check=False)

    def _free(self) -> str:
        size = self._pods.num_addresses
        for _ in range(size):
            self._last = self._last + 1 if self._last < size - 2 else 2
            ip = str(self._pods[self._last])
            if ip not in self._taken:
                return ip
        raise RuntimeError(f"no free address in {self._pods}")


def _link(ip: str) -> str:
    """A pod's link in the node's namespace."""
    return f"v{ipaddress.IPv4Address(ip).packed.hex()}"


async def _empty(names: list[str]) -> None:
    """End what runs in network namespaces: a program may have outlived the daemon that would have ended it."""
    theirs = {inode_of(it) for it in names} - {0, Path("/proc/self/ns/net").stat().st_ino}
    until = time.monotonic() + _PATIENCE_S
    while (found := _processes(theirs)) and time.monotonic() < until:
        for it in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(it, signal.SIGKILL)
        await asyncio.sleep(0.02)


def _processes(inside: set[int]) -> list[int]:
    found = []
    for it in Path("/proc").iterdir() if inside else ():
        if it.name.isdigit() and int(it.name) != os.getpid():
            with contextlib.suppress(OSError):  # it ended, or is about to
                if (it / "ns" / "net").stat().st_ino in inside:
                    found.append(int(it.name))
    return found
