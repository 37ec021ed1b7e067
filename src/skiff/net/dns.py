"""What is the address of a name? The cluster's DNS server: its own zone from memory, the rest from the host's resolver."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, NamedTuple, cast

from skiff.net.services import is_address, ready_endpoints

A, CNAME, PTR, SRV, OPT = 1, 5, 12, 33, 41
_TTL = 5
_NXDOMAIN, _SERVFAIL = 3, 2
_UDP_LIMIT = 1232
_PENDING = 256
#: By TCP, from one address.
_CONNECTIONS = 16
_UPSTREAM_S = 2.0


class Answer(NamedTuple):
    """Response code and records as (name, type, value): an IP, a name, or (port, target) for SRV."""

    code: int
    records: list[tuple[str, int, Any]]


class World(NamedTuple):
    """What the zone is made of: services and their slices by (namespace, name)."""

    services: dict[tuple[str, str], dict[str, Any]]
    slices: dict[tuple[str, str], list[dict[str, Any]]]


def resolve(world: World, domain: str, name: str, kind: int) -> Answer | None:
    """The answer from the cluster's zone; None if the name is not the cluster's."""
    name = name.lower().rstrip(".")
    if name.endswith(".in-addr.arpa"):
        ip = ".".join(reversed(name.removesuffix(".in-addr.arpa").split(".")))
        for (namespace, service), found in world.services.items():
            if (found.get("spec") or {}).get("clusterIP") == ip:
                return Answer(0, [(name, PTR, f"{service}.{namespace}.svc.{domain}")])
        return None
    if not name.endswith(f".{domain}"):
        return None
    labels = name.removesuffix(f".{domain}").split(".")
    if labels[-1] == "pod":
        return _of_pod(labels, name, kind)
    if labels[-1] != "svc":
        return Answer(_NXDOMAIN, [])
    if len(labels) < 3:
        known = len(labels) == 1 or any(namespace == labels[0] for namespace, _ in world.services)
        return Answer(0 if known else _NXDOMAIN, [])
    *host, service, namespace, _ = labels
    present = world.services.get((namespace, service))
    if present is None:
        return Answer(_NXDOMAIN, [])
    return _of_service(present, world.slices.get((namespace, service), []), name, host, kind)


def _of_pod(labels: list[str], name: str, kind: int) -> Answer:
    """``10-244-0-5.default.pod``: the address is in the name, and nobody checks whether there is such a pod."""
    try:
        ip = str(IPv4Address(labels[0].replace("-", "."))) if len(labels) == 3 else ""
    except ValueError:
        ip = ""
    if not ip:
        return Answer(_NXDOMAIN, [])
    return Answer(0, [(name, A, ip)] if kind == A else [])


def _of_service(
    service: dict[str, Any], slices: list[dict[str, Any]], name: str, host: list[str], kind: int
) -> Answer:
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return Answer(0, [(name, CNAME, str(spec.get("externalName", "")).rstrip("."))])
    vip = spec.get("clusterIP") or ""
    every = spec.get("publishNotReadyAddresses")
    hosts = {
        str(endpoint.get("hostname") or ip.replace(".", "-")): ip
        for piece in slices if piece.get("addressType") == "IPv4"
        for endpoint in piece.get("endpoints") or []
        if every or (endpoint.get("conditions") or {}).get("ready", True) is not False
        for ip in endpoint.get("addresses") or [] if is_address(ip)
    }  # fmt: skip
    if len(host) == 2 and host[0].startswith("_") and host[1].startswith("_"):
        return _srv(spec, slices, name, host, hosts if vip == "None" else {}, kind)
    if len(host) == 1 and host[0] in hosts:
        return Answer(0, [(name, A, hosts[host[0]])] if kind == A else [])
    if host:
        return Answer(_NXDOMAIN, [])
    ips = sorted(hosts.values()) if vip == "None" else [vip] if vip else []
    if not ips:
        return Answer(_NXDOMAIN, [])
    return Answer(0, [(name, A, ip) for ip in random.sample(ips, len(ips))] if kind == A else [])


def _srv(
    spec: dict[str, Any],
    slices: list[dict[str, Any]],
    name: str,
    host: list[str],
    hosts: dict[str, str],
    kind: int,
) -> Answer:
    port_name, protocol = host[0][1:], host[1][1:]
    for port in spec.get("ports") or []:
        if port.get("name") == port_name and (port.get("protocol") or "TCP").lower() == protocol:
            base = name.split(".", 2)[2]
            if not hosts:
                return Answer(0, [(name, SRV, (port["port"], base))] if kind == SRV else [])
            ports = dict(ready_endpoints(slices, port_name))
            found = [
                (name, SRV, (ports[ip], f"{label}.{base}")) for label, ip in hosts.items() if ip in ports
            ]
            return Answer(0, found if kind == SRV else [])
    return Answer(_NXDOMAIN, [])


def question(packet: bytes) -> tuple[str, int, int]:
    """(name, type, offset after the question); ValueError if the packet is not one."""
    if len(packet) < 17 or packet[2] & 0x80 or struct.unpack_from(">H", packet, 4)[0] != 1:
        raise ValueError("not a question")
    labels, at = [], 12
    while (size := packet[at]) != 0:
        if size > 63 or at + size + 1 >= len(packet):
            raise ValueError("bad name")
        labels.append(packet[at + 1 : at + 1 + size].decode("ascii", "replace"))
        at += size + 1
    if at + 5 > len(packet):
        raise ValueError("cut off")
    return ".".join(labels), struct.unpack_from(">H", packet, at + 1)[0], at + 5


def udp_limit(packet: bytes) -> int:
    """How large a reply by UDP may be: 512 bytes, or what the client says in an OPT record (RFC 6891)."""
    with contextlib.suppress(ValueError, IndexError, struct.error):
        _, _, end = question(packet)
        kind, size = struct.unpack_from(">HH", packet, end + 1)
        if packet[end] == 0 and kind == OPT:
            return min(max(int(size), 512), _UDP_LIMIT)
    return 512


def query(number: int, name: str, kind: int) -> bytes:
    """A question to another resolver."""
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + _name(name) + struct.pack(">HH", kind, 1)


def addresses(reply: bytes, name: str) -> list[tuple[str, int, Any]]:
    """The IPv4 addresses in a reply, told of the name that was asked for."""
    try:
        at, count = _end_of_name(reply, 12) + 4, struct.unpack_from(">H", reply, 6)[0]
        found: list[tuple[str, int, Any]] = []
        for _ in range(count):
            at = _end_of_name(reply, at)
            kind, _, _, size = struct.unpack_from(">HHIH", reply, at)
            if kind == A and size == 4:
                found.append((name, A, str(IPv4Address(reply[at + 10 : at + 14]))))
            at += 10 + size
    except (IndexError, struct.error, ValueError):
        return []
    return found


def _end_of_name(packet: bytes, at: int) -> int:
    while (size := packet[at]) != 0:
        if size >= 0xC0:  # the rest stands elsewhere
            return at + 2
        at += size + 1
    return at + 1


def response(packet: bytes, end: int, answer: Answer, limit: int = 65535) -> bytes:
    """The reply to a question; truncated beyond the limit so that the client asks again by TCP."""
    body = b"".join(_record(record) for record in answer.records)
    flags = 0x8580 | answer.code
    count = len(answer.records)
    if end + len(body) > limit:
        body, count, flags = b"", 0, flags | 0x0200
    return packet[:2] + struct.pack(">HHHHH", flags, 1, count, 0, 0) + packet[12:end] + body


def _name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def _record(record: tuple[str, int, Any]) -> bytes:
    name, kind, value = record
    if kind == A:
        data = IPv4Address(value).packed
    elif kind == SRV:
        data = struct.pack(">HHH", 0, 100, value[0]) + _name(value[1])
    else:
        data = _name(value)
    return _name(name) + struct.pack(">HHIH", kind, 1, _TTL, len(data)) + data


def host_resolvers(path: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The IPv4 name servers of the host."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    words = (line.split() for line in lines)
    return [it[1] for it in words if len(it) > 1 and it[0] == "nameserver" and ":" not in it[1]]


class _Upstream(asyncio.DatagramProtocol):
    def __init__(self, query: bytes, got: asyncio.Future[bytes]) -> None:
        self._query, self._got = query, got

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.DatagramTransport", transport).sendto(self._query)  # see DnsServer.connection_made

    def datagram_received(self, data: bytes, addr: object) -> None:
        del addr  # asyncio's signature
        if data[:2] == self._query[:2] and not self._got.done():
            self._got.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._got.done():
            self._got.set_exception(exc)


async def _asked(servers: list[str], packet: bytes, ask: Callable[[str, bytes], Awaitable[bytes]]) -> bytes:
    """The reply of the first of the host's name servers that gives one; they may change while the daemon runs."""
    for server in servers:
        with contextlib.suppress(OSError, TimeoutError, EOFError):
            async with asyncio.timeout(_UPSTREAM_S):
                return await ask(server, packet)
    return b""


async def _asked_by_udp(server: str, packet: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    got: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Upstream(packet, got), remote_addr=(server, 53)
    )
    try:
        return await got
    finally:
        transport.close()


async def _asked_by_tcp(server: str, packet: bytes) -> bytes:
    """For who asks by TCP, because by UDP the reply was cut off."""
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(len(packet).to_bytes(2, "big") + packet)
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.close()


class DnsServer(asyncio.DatagramProtocol):
    """Answers over UDP and TCP; ``world`` is asked at every question."""

    def __init__(self, world: Callable[[], World], domain: str) -> None:
        self._world, self._domain = world, domain
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None
        self._connected: Counter[str] = Counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own class of datagram transports is no subclass of the abstract one in Python 3.11.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if len(self._tasks) < _PENDING:
            task = asyncio.get_running_loop().create_task(self._reply(data, addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reply(self, data: bytes, addr: Any) -> None:
        reply = await self.answer(data, udp_limit(data))
        if reply and self._transport is not None:
            self._transport.sendto(reply, addr)

    async def answer(self, packet: bytes, limit: int = 65535) -> bytes:
        """The reply to a packet; nothing for what is no question."""
        try:
            name, kind, end = question(packet)
        except (ValueError, IndexError, struct.error):
            return b""
        found = resolve(self._world(), self._domain, name, kind)
        if found is not None and found.records and found.records[0][1] == CNAME and kind != CNAME:
            found = await self._followed(found, kind)
        if found is not None:
            return response(packet, end, found, limit)
        if not (servers := host_resolvers()):
            return response(packet, end, Answer(_NXDOMAIN, []))
        ask = _asked_by_tcp if limit > _UDP_LIMIT else _asked_by_udp
        return await _asked(servers, packet, ask) or response(packet, end, Answer(_SERVFAIL, []))

    async def _followed(self, alias: Answer, kind: int) -> Answer:
        """An alias with what it stands for: clients expect their resolver to have looked."""
        target = str(alias.records[0][2])
        found = resolve(self._world(), self._domain, target, kind)
        if found is None and (servers := host_resolvers()):
            asked = query(random.randrange(1 << 16), target, kind)
            reply = await _asked(servers, asked, _asked_by_udp)
            return Answer(0, [*alias.records, *addresses(reply, target)])
        return Answer(0, [*alias.records, *(found.records if found else [])])

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One TCP client: length-prefixed questions until it leaves or is silent. Each pod has a few connections at a time."""
        who = str((writer.get_extra_info("peername") or ("",))[0])
        if self._connected[who] >= _CONNECTIONS or self._connected.total() >= _PENDING:
            writer.close()
            return
        self._connected[who] += 1
        try:
            while True:
                size = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 10.0), "big")
                reply = await self.answer(await asyncio.wait_for(reader.readexactly(size), 10.0))
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await asyncio.wait_for(writer.drain(), 10.0)
        except (OSError, EOFError, TimeoutError):
            pass
        finally:
            self._connected[who] -= 1
            if not self._connected[who]:
                del self._connected[who]
            writer.close()
