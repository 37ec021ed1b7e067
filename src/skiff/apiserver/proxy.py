"""How does a client speak to a program in a pod through the API server? ``pods/NAME/proxy`` and ``services/NAME/proxy``.

The address is never taken from what users can write: it is the one that the node gave to the pod itself. So nobody reaches
the machine, another network or the API server's own loopback by an EndpointSlice or a pod's status.
https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterator
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from skiff.api import Node, Object
from skiff.apiserver import tunnel
from skiff.apiserver.reaching import Target, unreachable
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError
from skiff.kinds import ENDPOINT_SLICES, NODES, PODS, SERVICES, Kind

_SERVICE = "kubernetes.io/service-name"
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
#: Said between two machines, not to the one behind them (RFC 9110, 7.6.1).
_BETWEEN = {
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
#: Meant for the API server, or made by aiohttp.
_OURS = {"authorization", "expect"}
_OUR_BEGINNINGS = ("impersonate-", "x-remote-")
_AUTOMATIC = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
#: A program that says nothing for so long is not waited for; a kubelet waits as long for its streams.
_TIMES = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=4 * 3600)
_LOOK_S = 2.0
_PIECE = 64 * 1024


async def serve(
    request: web.Request, registry: Registry, node: Node | None, kind: Kind, namespace: str, name: str
) -> web.StreamResponse:
    """Answer with what the pod answers."""
    if request.method not in _METHODS:
        raise ApiError(
            405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
        )
    prefix, path = _split(request.rel_url.raw_path, 7 if kind.namespaced else 5)
    if kind is NODES:
        from skiff.apiserver import node_proxy  # rare

        return await node_proxy.answer(request, registry, node, name, path)
    scheme, plain, port = _named(name)
    if node is None:
        raise ApiError(503, "ServiceUnavailable", "no node runs pods here")
    if kind is SERVICES:
        pod, number = _behind(registry, namespace, plain, port)
    else:
        pod, number = plain, _number(registry.get(PODS, namespace, plain), scheme, port)
    target = Target(scheme, node.address(namespace, pod), number, path, prefix)
    if tunnel.wanted(request):
        return await tunnel.serve(request, node.outlet(), target, _sent(request, target))
    if not path and request.method in ("GET", "HEAD"):  # links on the page would lead astray
        query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
        return web.Response(status=301, headers={"Location": f"{prefix}/{query}"})
    return await _while_there(request, _forwarded(request, node, target))


def _split(raw: str, parts: int) -> tuple[str, str]:
    """(the path up to and with so many parts, the rest of it)."""
    pieces, seen = raw.split("/"), 0
    for index, piece in enumerate(pieces):
        seen += bool(piece)
        if seen == parts:
            rest = pieces[index + 1 :]
            return "/".join(pieces[: index + 1]), "/".join(["", *rest]) if rest else ""
    return raw, ""


def _named(text: str) -> tuple[str, str, str]:
    """(scheme, name, port) of ``name``, ``name:port`` or ``scheme:name:port``."""
    parts = text.split(":")
    if len(parts) > 3 or (len(parts) == 3 and parts[0] not in ("http", "https", "")):
        raise ApiError(400, "BadRequest", f'invalid request "{text}"')
    scheme = parts[0] if len(parts) == 3 else ""
    name, port = parts[-2:] if len(parts) > 1 else (text, "")
    return scheme or "http", name, port


def _number(pod: Object, scheme: str, port: str) -> int:
    """A pod's port: the one asked for, else its first."""
    if not port:
        first = (it["containerPort"] for c in pod["spec"]["containers"] for it in c.get("ports") or ())
        return int(next(first, 443 if scheme == "https" else 80))
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ApiError(400, "BadRequest", f'invalid pod request "{port}": a port is a number from 1 to 65535')
    return int(port)


def _behind(registry: Registry, namespace: str, name: str, port: str) -> tuple[str, int]:
    """(a ready pod of a service, its port)."""
    service = registry.get(SERVICES, namespace, name)
    if port.isdecimal():
        named = (
            it.get("name") or "" for it in service["spec"].get("ports") or () if it.get("port") == int(port)
        )
        found = next(named, None)
        if found is None:
            raise ApiError(503, "ServiceUnavailable", f'no service port {port} found for service "{name}"')
        port = found
    ready = list(_ready(registry, namespace, name, port))
    if not ready:
        raise ApiError(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')
    return random.choice(ready)


def _ready(registry: Registry, namespace: str, service: str, port: str) -> Iterator[tuple[str, int]]:
    for piece in registry.store.all(ENDPOINT_SLICES.storage, namespace):
        if (piece["metadata"].get("labels") or {}).get(_SERVICE) != service:
            continue
        ports = [
            it["port"] for it in piece.get("ports") or () if (it.get("name") or "") == port and it.get("port")
        ]
        for it in piece.get("endpoints") or ():
            meant = it.get("targetRef") or {}
            own = meant.get("kind") == "Pod" and meant.get("namespace", namespace) == namespace
            if own and (it.get("conditions") or {}).get("ready", True) is not False:
                yield from ((str(meant.get("name", "")), number) for number in ports)


def _sent(request: web.Request, target: Target) -> CIMultiDict[str]:
    """The headers for the pod: the client's, without what was said to us, and with where they came from."""
    named = {
        it.strip().lower() for text in request.headers.getall("Connection", ()) for it in text.split(",")
    }
    made: CIMultiDict[str] = CIMultiDict()
    for name, value in request.headers.items():
        low = name.lower()
        if low not in _BETWEEN | _OURS | named and not low.startswith(_OUR_BEGINNINGS):
            made.add(name, value)
    before = made.getall("X-Forwarded-For", [])
    made["X-Forwarded-For"] = ", ".join([*before, request.remote or "unknown"])
    made["X-Forwarded-Host"], made["X-Forwarded-Proto"] = request.host, request.scheme
    made["X-Forwarded-Uri"] = f"{target.prefix}{target.path or '/'}"
    return made


async def _forwarded(request: web.Request, node: Node, target: Target) -> web.StreamResponse:
    connector = aiohttp.TCPConnector(socket_factory=lambda _: node.outlet(), ssl=False, force_close=True)
    query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
    url = URL(f"{target.scheme}://{target.host}:{target.port}{target.path or '/'}{query}", encoded=True)
    session = aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, timeout=_TIMES,
        skip_auto_headers=_AUTOMATIC, requote_redirect_url=False,
    )  # fmt: skip
    response: web.StreamResponse | None = None
    async with session:
        try:
            sent = session.request(
                request.method, url, headers=_sent(request, target), allow_redirects=False,
                data=request.content if request.can_read_body else None,
            )  # fmt: skip
            async with sent as answered:
                response = web.StreamResponse(status=answered.status, reason=answered.reason)
                _take_headers(response, answered, target)
                await response.prepare(request)
                async for piece in answered.content.iter_chunked(_PIECE):
                    await response.write(piece)
                await response.write_eof()
        except (aiohttp.ClientError, OSError, TimeoutError) as wrong:
            if response is not None and response.prepared:
                response.force_close()  # too late for another answer: the client sees that it is cut off
                if request.transport is not None:
                    request.transport.close()
                return response
            raise unreachable(target, wrong) from wrong
    return response


def _take_headers(response: web.StreamResponse, answered: aiohttp.ClientResponse, target: Target) -> None:
    named = {
        it.strip().lower() for text in answered.headers.getall("Connection", ()) for it in text.split(",")
    }
    for name, value in answered.headers.items():
        if name.lower() not in _BETWEEN | named:
            response.headers.add(name, _moved(value, target) if name.lower() == "location" else value)


def _moved(location: str, target: Target) -> str:
    """A redirect within the program leads through us again."""
    for own in (f"{target.scheme}://{target.host}:{target.port}", f"{target.scheme}://{target.host}"):
        if location == own or location.startswith(f"{own}/"):
            location = location.removeprefix(own) or "/"
    inside = location.startswith("/") and not location.startswith("//")
    return target.prefix + location if inside else location


async def _while_there(
    request: web.Request, work: Coroutine[Any, Any, web.StreamResponse]
) -> web.StreamResponse:
    """The work's result. It ends with its client, who may leave while a program is silent."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_S)
            if request.transport is None or request.transport.is_closing():
                task.cancel()
                return web.Response(status=499)  # which nobody reads
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
