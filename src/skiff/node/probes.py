"""Is it alive, is it ready? The four ways in which Kubernetes asks a container.

https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import aiohttp

from skiff.net.kernel import socket_inside

_HEALTH = "/grpc.health.v1.Health/Check"
_SERVING = 1

#: Runs a command in the container: (exit code, output).
Run = Callable[[list[str], float], Awaitable[tuple[int, str]]]


class Place(NamedTuple):
    """Where a container is asked: at its pod's address, or at a host that it names, as its node's network knows it.

    ``node`` is that network's name. This machine's own is not the node's, and nobody is asked there for a pod's sake.
    """

    ip: str
    node: str


async def check(probe: dict[str, Any], container: dict[str, Any], place: Place, run: Run) -> str:
    """ "" when it is well, else what is wrong in the words of kubelet's events."""
    seconds = float(probe.get("timeoutSeconds") or 1)
    try:
        if get := probe.get("httpGet"):
            return await _http(get, container, place, seconds)
        if tcp := probe.get("tcpSocket"):
            return await _tcp(tcp.get("host") or "", port_of(tcp["port"], container), place, seconds)
        if health := probe.get("grpc"):
            return await _grpc(place.ip, int(health["port"]), health.get("service") or "", seconds)
        if command := probe.get("exec"):
            code, said = await run(command.get("command") or [], seconds)
            return "" if code == 0 else said.strip()[-500:] or f"exit code {code}"
    except TimeoutError:
        return f"no answer within {seconds:.0f} s"
    except (OSError, aiohttp.ClientError, ValueError) as wrong:
        return str(wrong) or type(wrong).__name__
    return ""


def port_of(port: int | str, container: dict[str, Any]) -> int:
    """A number, or the number of a named port."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for it in container.get("ports") or ():
        if it.get("name") == port:
            return int(it["containerPort"])
    raise ValueError(f'the container has no port named "{port}"')


async def http_get(get: dict[str, Any], container: dict[str, Any], place: Place, seconds: float) -> int:
    """The status of an HTTP request as probes and hooks make it."""
    host = get.get("host") or place.ip
    scheme = (get.get("scheme") or "HTTP").lower()
    url = f"{scheme}://{host}:{port_of(get['port'], container)}{get.get('path') or '/'}"
    headers = {"User-Agent": "kube-probe/1.37", "Accept": "*/*", "Connection": "close"}
    headers |= {it["name"]: it["value"] for it in get.get("httpHeaders") or ()}
    timeout, jar = aiohttp.ClientTimeout(total=seconds), aiohttp.DummyCookieJar()
    ways = aiohttp.TCPConnector(
        socket_factory=(lambda info: socket_inside(place.node, info[0], info[1])) if get.get("host") else None
    )
    async with (
        aiohttp.ClientSession(timeout=timeout, cookie_jar=jar, connector=ways) as session,
        session.get(url, headers=headers, ssl=False, allow_redirects=False) as answer,
    ):
        return answer.status


async def _http(get: dict[str, Any], container: dict[str, Any], place: Place, seconds: float) -> str:
    try:
        status = await http_get(get, container, place, seconds)
    except aiohttp.ClientConnectorError as wrong:
        where = f"{wrong.host}:{wrong.port}"
        why = os.strerror(wrong.os_error.errno).lower() if wrong.os_error.errno else "failed"
        return f'Get "http://{where}{get.get("path") or "/"}": dial tcp {where}: connect: {why}'
    return "" if 200 <= status < 400 else f"HTTP probe failed with statuscode: {status}"


async def _tcp(host: str, port: int, place: Place, seconds: float) -> str:
    loop, wrong = asyncio.get_running_loop(), "no address"
    async with asyncio.timeout(seconds):
        found = await loop.getaddrinfo(host or place.ip, port, type=socket.SOCK_STREAM)
        for family, kind, _, _, address in found:
            with socket_inside(place.node, family, kind) if host else socket.socket(family, kind) as made:
                made.setblocking(False)
                try:
                    await loop.sock_connect(made, address)
                except OSError as refused:
                    wrong = str(refused)
                else:
                    return ""
    return wrong


async def _grpc(ip: str, port: int, service: str, seconds: float) -> str:
    import grpc  # 10 MB: only for those who ask so

    name = service.encode()
    request = b"\x0a" + bytes([len(name)]) + name if name else b""
    try:
        async with grpc.aio.insecure_channel(f"{ip}:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
            answer: bytes = await channel.unary_unary(_HEALTH)(request, timeout=seconds)
    except grpc.aio.AioRpcError as wrong:
        return f"{wrong.code().name}: {wrong.details()}"
    status = answer[1] if len(answer) >= 2 and answer[0] == 8 else 0
    return "" if status == _SERVING else f"service unhealthy (responded with status {status})"
