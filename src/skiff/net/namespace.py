"""Where do the pods' packets go? One namespace for the node, one for each pod, routed veth pairs between them."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import time
from pathlib import Path

from skiff.net.kernel import run, write_inside

NODE = "skiff-node"
HOST_LINK = "skiff0"
HOST_IP = "169.254.77.1"
NODE_IP = "169.254.77.2"
GATEWAY = "169.254.1.1"
_NAMES = Path("/run/netns")
#: How long what was killed may take to be gone.
_PATIENCE_S = 5.0


class NodeNetwork:
    """The namespaces and links of the node. Everything it makes goes away with ``remove``."""

    def __init__(self, pod_cidr: str, service_cidr: str, local_ips: tuple[str, ...]) -> None:
        self._pods = ipaddress.IPv4Network(pod_cidr)
        self._services = service_cidr
        self._local = local_ips
        self._taken: dict[str, str] = {}
        self._last = 1

    async def prepare(self) -> None:
        """Make the node's namespace and the host's way into it; what a killed daemon left is removed first."""
        await self.remove()
        await run("ip", "netns", "add", NODE)
        await run(
            "ip", "-batch", "-",
            feed=f"link add {HOST_LINK} type veth peer name uplink netns {NODE}\n"
            f"addr add {HOST_IP}/30 dev {HOST_LINK}\nlink set {HOST_LINK} up\n",
        )  # fmt: skip
        addresses = "".join(f"addr add {ip}/32 dev lo\n" for ip in (GATEWAY, *self._local))
        await run(
            "ip", "-n", NODE, "-batch", "-",
            feed=f"link set lo up\naddr add {NODE_IP}/30 dev uplink\nlink set uplink up\n"
            f"{addresses}route add default via {HOST_IP}\n",
        )  # fmt: skip
        await run(
            "ip",
            "-batch",
            "-",
            feed=f"route add {self._pods} via {NODE_IP}\nroute add {self._services} via {NODE_IP}\n",
        )
        await run("ip", "netns", "exec", NODE, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")

    async def add_pod(self, key: str) -> tuple[str, str]:
        """(name of a new namespace, its IP). When the kernel refuses, nothing of it is left."""
        ip = self._free()
        self._taken[ip] = key
        name = f"skiff-{ipaddress.IPv4Address(ip).packed.hex()}"
        try:
            await self._make_pod(name, ip)
        except BaseException:
            await self.remove_pod(name, ip)
            raise
        return name, ip

    async def _make_pod(self, name: str, ip: str) -> None:
        link = f"v{ipaddress.IPv4Address(ip).packed.hex()}"
        await run("ip", "netns", "add", name)  # not in the batch: ``-n`` has mounts of its own
        await run(
            "ip", "-n", NODE, "-batch", "-",
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
        await run("ip", "-n", NODE, "link", "del", f"v{ipaddress.IPv4Address(ip).packed.hex()}", check=False)
        await run("ip", "netns", "del", name, check=False)
        self._taken.pop(ip, None)

    async def remove(self) -> None:
        """Remove every namespace, link and route of a node, and whatever still runs in there."""
        await run("ip", "link", "del", HOST_LINK, check=False)
        names = [line.split()[0] for line in (await run("ip", "netns", "list")).splitlines()]
        names = [it for it in names if it.startswith("skiff-")]
        await _empty(names)
        for it in names:
            await run("ip", "netns", "del", it, check=False)
        self._taken.clear()

    def _free(self) -> str:
        size = self._pods.num_addresses
        for _ in range(size):
            self._last = self._last + 1 if self._last < size - 2 else 2
            ip = str(self._pods[self._last])
            if ip not in self._taken:
                return ip
        raise RuntimeError(f"no free address in {self._pods}")


async def _empty(names: list[str]) -> None:
    """End what runs in network namespaces: a program may have outlived the daemon that would have ended it."""
    inside = {(_NAMES / it).stat().st_ino for it in names if (_NAMES / it).exists()}
    until = time.monotonic() + _PATIENCE_S
    while (found := _processes(inside)) and time.monotonic() < until:
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
