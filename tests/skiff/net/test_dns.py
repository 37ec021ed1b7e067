"""What the cluster does not know is asked of the host's resolvers, as they are at that moment."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from skiff.net import dns
from skiff.net.dns import A, Answer, DnsServer, World, host_resolvers, query, question, response, udp_limit
from skiff.net.services import fronts, ready_endpoints, ruleset

_ADDRESS = "127.77.0.53"  # nobody else's
_MANY = 60


class Upstream(asyncio.DatagramProtocol):
    """A resolver which has many addresses for ``many.example.org`` and one for every other name."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.transport.sendto(self.reply(data, udp_limit(data)), addr)  # type: ignore[attr-defined]

    @staticmethod
    def reply(packet: bytes, limit: int = 65535) -> bytes:
        name, _, end = question(packet)
        count = _MANY if name.startswith("many") else 1
        return response(
            packet, end, Answer(0, [(name, A, f"203.0.113.{n + 1}") for n in range(count)]), limit
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError):
            size = int.from_bytes(await reader.readexactly(2), "big")
            reply = self.reply(await reader.readexactly(size))
            writer.write(len(reply).to_bytes(2, "big") + reply)
        writer.close()


@pytest.fixture
async def upstream(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    it = Upstream()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: it, local_addr=(_ADDRESS, 53)
    )
    server = await asyncio.start_server(it.serve, _ADDRESS, 53)
    monkeypatch.setattr(dns, "_UPSTREAM_S", 0.5)
    monkeypatch.setattr(dns, "host_resolvers", lambda: ["127.77.0.1", _ADDRESS])  # nobody is at the first
    yield
    transport.close()
    server.close()


def count(reply: bytes) -> tuple[int, bool, int]:
    """(code, truncated, answers)."""
    flags, _, answers = struct.unpack_from(">HHH", reply, 2)
    return flags & 15, bool(flags & 0x0200), answers


@pytest.mark.root
@pytest.mark.usefixtures("upstream")
async def test_other_names_are_asked_of_whoever_answers_of_the_hosts_resolvers() -> None:
    spec = {"type": "ExternalName", "externalName": "www.example.org"}
    server = DnsServer(lambda: World({("n", "out"): {"spec": spec}}, {}), "cluster.local")
    one, many = query(7, "www.example.org", A), query(8, "many.example.org", A)
    assert count(await server.answer(one, 512)) == (0, False, 1)
    assert count(await server.answer(many, 512)) == (0, True, 0)  # so that the client asks by TCP
    assert count(await server.answer(many)) == (0, False, _MANY)
    assert count(await server.answer(query(9, "out.n.svc.cluster.local", A), 512)) == (0, False, 2)


async def test_without_a_resolver_other_names_do_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "host_resolvers", list)
    server = DnsServer(lambda: World({}, {}), "cluster.local")
    assert count(await server.answer(query(7, "www.example.org", A), 512)) == (3, False, 0)


def test_the_hosts_resolvers_are_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "search a\nnameserver ::1\nnameserver 10.0.0.1\n#nameserver x\nnameserver\nnameserver 127.0.0.53\n"
    )
    assert host_resolvers(path) == ["10.0.0.1", "127.0.0.53"]
    assert host_resolvers(tmp_path / "none") == []


def test_a_reply_by_udp_is_as_large_as_the_client_says() -> None:
    plain = query(1, "a.b", A)
    assert udp_limit(plain) == 512
    assert udp_limit(plain + b"\0" + struct.pack(">HHIH", 41, 1000, 0, 0)) == 1000
    assert udp_limit(plain + b"\0" + struct.pack(">HHIH", 41, 4096, 0, 0)) == 1232
    assert udp_limit(b"?") == 512


def test_what_users_write_into_slices_never_spoils_the_rules() -> None:
    addresses = ["10.244.0.7", "300.1.1.1", "1.2.3.4:80 } drop", "", "::1"]
    piece = {
        "addressType": "IPv4", "ports": [{"port": 80}, {"port": 70_000}], "endpoints": [{"addresses": addresses}],
    }  # fmt: skip
    assert ready_endpoints([piece], "") == (("10.244.0.7", 80),)
    spec = {
        "clusterIP": "10.96.0.9", "externalIPs": ["; flush"],
        "ports": [{"port": 80}, {"port": 1, "protocol": "} evil"}],
    }  # fmt: skip
    status = {"loadBalancer": {"ingress": [{"ip": "x"}, {"hostname": "h"}]}}
    text = ruleset(fronts({"spec": spec, "status": status}, [piece]))
    assert "10.96.0.9 . tcp . 80" in text
    assert not any(word in text for word in ("evil", "flush", "drop", "300.1"))


@pytest.mark.finding("redteam 9: one Service with port 70000 stops the service rules of everybody")
def test_ports_that_are_none_are_no_part_of_the_rules() -> None:
    ports = [{"port": 70_000}, {"port": 0}, {"port": -1}, {"port": 80, "nodePort": 70_000}]
    [front] = fronts({"spec": {"clusterIP": "10.96.0.9", "ports": ports}}, [])
    assert (front.port, front.node_port) == (80, 0)
    assert "70000" not in ruleset([front])


@pytest.mark.finding("issue 7 redteam")
def test_nobody_takes_the_addresses_that_others_were_given() -> None:
    """A Service may name external addresses: not those of the API, of DNS, or of another Service's ports."""

    def service(address: str, **more: object) -> dict[str, object]:
        return {"spec": {"clusterIP": address, "ports": [{"port": 80, "nodePort": 30080}], **more}}

    def slices(address: str) -> list[dict[str, object]]:
        return [{"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": [address]}]}]

    own = ("10.96.0.1", "10.96.0.10")
    thief = service("10.96.0.8", externalIPs=[*own, "10.96.0.7", "10.96.0.9", "192.0.2.1"])
    for theirs in (
        slices("10.244.0.6"),
        [],
    ):  # with an endpoint, and with none: what nobody serves is refused
        offered = [
            *fronts(service("10.96.0.7"), slices("10.244.0.7"), own), *fronts(thief, theirs, own),
            *fronts(service("10.96.0.9"), slices("10.244.0.9"), own),
        ]  # fmt: skip
        text = ruleset(offered)
        assert text.count("10.96.0.1 ") == text.count("10.96.0.10 ") == 0
        assert "10.96.0.7 . tcp . 80 : goto s0" in text
        assert "10.96.0.9 . tcp . 80 : goto s2" in text
        assert text.count("10.96.0.7 ") == text.count("10.96.0.9 ") == text.count("192.0.2.1 ") == 1
    assert "tcp . 30080 : goto s0" in text


@pytest.mark.finding("issue 7 redteam")
async def test_one_pod_holds_few_connections() -> None:
    """Descriptors are the daemon's, who needs them for the API."""
    server = DnsServer(lambda: World({}, {}), "cluster.local")
    listening = await asyncio.start_server(server.serve_tcp, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
    closed = await asyncio.gather(*(asyncio.wait_for(reader.read(), 5.0) for reader, _ in held[16:]))
    assert closed == [b""] * 24
    asked = query(1, "x.cluster.local", A)
    held[0][1].write(len(asked).to_bytes(2, "big") + asked)  # those that were there first are answered
    assert (await held[0][0].readexactly(4))[2:] == asked[:2]
    for _, writer in held:
        writer.close()
    while server._connected:
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(len(asked).to_bytes(2, "big") + asked)
    assert (await reader.readexactly(4))[2:] == asked[:2]
    writer.close()
    listening.close()
