# ruff: noqa: INP001
"""What does it cost when a whole mesh connects? Many proxies and many services against one control plane of its own process.

    python bench/connect.py --services 1000 --proxies 200 [--tls]

Prints the time until every proxy has everything, the time until all have heard of one changed endpoint, and what the
control plane took of processor and memory. Figures of a shared machine are noisy: run it thrice.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.authority import serving as certificates
from lateen.authority.store import Authority
from lateen.discovery.front import Front
from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from lateen.pki.certificates import key_pem, leaf, pem, self_signed
from lateen.testing.ads import Delta, serving
from lateen.testing.mesh import changed, endpoint_slice, mesh, pod, service

HOST = "istiod.istio-system.svc"
_TICKS = os.sysconf("SC_CLK_TCK")


def documents(services: int) -> list[str]:
    """A mesh of services with two pods each."""
    made = []
    for n in range(services):
        name, place = f"s{n}", f"10.{n // 250 + 1}.{n % 250}"
        made += [pod(f"{name}-{m}", f"{place}.{m}", name, ports={"http": 8080}) for m in (1, 2)]
        made.append(service(name, {"http": 8080}, f"10.200.{n // 250}.{n % 250 + 1}"))
        made.append(slice_of(n, 2))
    return made


def slice_of(n: int, count: int) -> str:
    """The endpoints of a service."""
    place = f"10.{n // 250 + 1}.{n % 250}"
    return endpoint_slice(
        f"s{n}", {"http": 8080}, *((f"s{n}-{m}", f"{place}.{m}") for m in range(1, count + 1))
    )


async def serve(services: int, folder: Path | None) -> None:
    """The control plane. A line on standard input changes an endpoint."""
    began = time.monotonic()
    db = mesh(*documents(services))
    async with AsyncExitStack() as stack:
        front: Front | None = None
        _, loop, port = await stack.enter_async_context(
            serving(db, lambda name: front.peer(name) if front else (None, False))
        )
        if folder:
            front = Front(port)
            port = await front.start(0, _tls(folder), "127.0.0.1")
            stack.push_async_callback(front.stop)
        print(port, f"{time.monotonic() - began:.2f}", flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while await reader.readline():
            loop.put(changed(slice_of(0, 1)))


def _tls(folder: Path) -> Any:
    key = ec.generate_private_key(ec.SECP256R1())
    root = self_signed(key, "cluster.local", serial=1, now=datetime.now(UTC), ttl=timedelta(days=1))
    own = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier("spiffe://cluster.local/ns/default/sa/default")
    ]
    made = leaf(root, own.public_key(), names, serial=2, now=datetime.now(UTC), ttl=timedelta(hours=1))
    for name, content in (("root", pem(root.certificate)), ("chain", pem(made)), ("key", key_pem(own))):
        (folder / name).write_bytes(content)
    authority = Authority(root, pem(root.certificate), "bench")
    return certificates.server_context(authority, [HOST], clients=True)


def channel(port: int, folder: Path | None) -> Any:
    """A connection of its own, as each proxy has one."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    if folder is None:
        return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options)
    parts = [(folder / name).read_bytes() for name in ("root", "key", "chain")]
    options.append(("grpc.ssl_target_name_override", HOST))  # type: ignore[arg-type]
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(*parts), options)


async def connect(port: int, number: int, folder: Path | None) -> tuple[Delta, int]:
    """One proxy; how many bytes it was sent."""
    address = f"10.{number // 250 + 1}.{number % 250}.1"
    it = Delta(channel(port, folder), f"sidecar~{address}~s{number}-1.default~default.svc.cluster.local")
    sent = 0
    names: tuple[str, ...] = ()
    for kind in (CLUSTER, ENDPOINT, LISTENER, ROUTE):
        await it.ask(kind, *(names if kind == ENDPOINT else ("8080",) if kind == ROUTE else ()))
        found = await asyncio.wait_for(it.call.read(), 600)
        sent += found.ByteSize()
        if kind == CLUSTER:
            names = tuple(one.name for one in found.resources if one.name.startswith("outbound"))
        await it.ask(kind, nonce=found.nonce)
    return it, sent


def used(process: int) -> tuple[float, float]:
    """(seconds of processor, megabytes resident)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return (int(fields[11]) + int(fields[12])) / _TICKS, pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def measure(port: int, process: subprocess.Popen[str], proxies: int, folder: Path | None) -> None:
    """All connect at once, then one endpoint changes."""
    cpu, memory = used(process.pid)
    print(f"before: {memory:.0f} MB")
    began = time.monotonic()
    found = await asyncio.gather(*(connect(port, n, folder) for n in range(proxies)))
    spent, resident = used(process.pid)
    print(f"all {proxies} have everything after {time.monotonic() - began:.2f} s; control plane {spent - cpu:.2f} s of "
          f"processor, {resident:.0f} MB; {sum(it[1] for it in found) / 1e6:.1f} MB sent")  # fmt: skip
    began, cpu = time.monotonic(), spent
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()
    answers = await asyncio.gather(*(it.hear() for it, _ in found))
    spent, resident = used(process.pid)
    assert {(it.type_url, len(it.resources)) for it in answers} == {(ENDPOINT, 1)}
    print(f"all have heard of one changed endpoint after {(time.monotonic() - began) * 1000:.0f} ms; control plane "
          f"{(spent - cpu) * 1000:.0f} ms of processor, {resident:.0f} MB")  # fmt: skip


def main() -> None:
    """Start the control plane, measure, end it."""
    said = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    said.add_argument("--services", type=int, default=1000)
    said.add_argument("--proxies", type=int, default=200)
    said.add_argument("--tls", action="store_true", help="by mutual TLS through the front, as proxies come")
    said.add_argument("--serve", default="", help=argparse.SUPPRESS)
    chosen = said.parse_args()
    if chosen.serve:
        import structlog

        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
        asyncio.run(serve(chosen.services, Path(chosen.serve) if chosen.serve != "-" else None))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) if chosen.tls else None
        command = [
            sys.executable,
            __file__,
            "--services",
            str(chosen.services),
            "--serve",
            name if folder else "-",
        ]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout
            port, seconds = process.stdout.readline().split()
            print(f"{chosen.services} services known after {seconds} s")
            asyncio.run(measure(int(port), process, chosen.proxies, folder))
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
