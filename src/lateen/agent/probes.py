"""Is the application well? Its own probes, asked from inside the pod, where mutual TLS does not stand in the way.

https://istio.io/latest/docs/ops/configuration/mesh/app-health-check/
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from lateen.agent import http, http2
from lateen.agent.http import Endpoint, Request, Response
from lateen.envoy import wellknown

_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"
#: Of the request goes on what a kubelet's own says of itself. Anybody may ask here, past mutual TLS: whatever else
#: stands in a request would reach the application as if its proxy had let it through.
PASSED_ON = ("user-agent", "accept")
_REDIRECTS = 10
#: As much of an answer as a kubelet looks at, bytes.
_ENOUGH = 10240


async def ask(probe: Mapping[str, Any], address: str, request: Request) -> Response:
    """What the application answers, in a form that the kubelet understands; whatever is wrong is a 500 that says it."""
    timeout_s = float(probe.get("timeoutSeconds") or 1)
    try:
        if isinstance(get := probe.get("httpGet"), Mapping):
            return await _http(get, address, request, timeout_s)
        if isinstance(tcp := probe.get("tcpSocket"), Mapping):
            return await _tcp(_endpoint(tcp, address), timeout_s)
        if isinstance(grpc := probe.get("grpc"), Mapping):
            return await _grpc(_endpoint(grpc, address), str(grpc.get("service") or ""), timeout_s)
    except TimeoutError:
        return _unwell(f"no answer within {timeout_s:g} s")
    except (OSError, ValueError, http2.CallError, asyncio.IncompleteReadError) as wrong:
        return _unwell(str(wrong) or type(wrong).__name__)
    return _unwell("the probe has no form that the agent knows")


def _unwell(reason: str) -> Response:
    return Response(500, reason.encode())


def _endpoint(how: Mapping[str, Any], address: str, *, tls: bool = False) -> Endpoint:
    to = str(how.get("host") or address)
    port = str(how.get("port"))
    if not port.isdigit():
        raise ValueError(f"the probe's port is {port}, and no port of the container has that name")
    own = to == address and to != "127.0.0.1" and ":" not in to
    # From here nothing is captured (dataplane, section 1): the application is reached as if there were no mesh.
    source = wellknown.INBOUND_SOURCE if own else ""
    return Endpoint(to, int(port), source, tls)


async def _http(get: Mapping[str, Any], address: str, request: Request, timeout_s: float) -> Response:
    secure = str(get.get("scheme") or "HTTP").upper() == "HTTPS"
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    for it in get.get("httpHeaders") or ():
        headers[str(it.get("name", "")).lower()] = str(it.get("value", ""))
    to, path = _endpoint(get, address, tls=secure), "/" + str(get.get("path") or "/").lstrip("/")
    async with asyncio.timeout(timeout_s):
        for _ in range(_REDIRECTS):
            found = await http.fetch(to, path, headers=headers, timeout_s=timeout_s, enough=_ENOUGH)
            onward = found.headers.get("location", "")
            # Like the kubelet: a redirect within the server is followed, one to elsewhere counts as well.
            if not 300 <= found.status < 400 or not onward.startswith("/") or onward.startswith("//"):
                break
            path = onward
    return Response(200 if 300 <= found.status < 400 else found.status, found.body)


async def _tcp(to: Endpoint, timeout_s: float) -> Response:
    async with asyncio.timeout(timeout_s):
        _, writer = await http.connect(to)
    writer.close()
    return Response(200)


async def _grpc(to: Endpoint, service: str, timeout_s: float) -> Response:
    name = service.encode()
    if len(name) > 127:
        raise ValueError("the service's name is too long")
    request = b"\x0a" + bytes([len(name)]) + name if name else b""
    async with asyncio.timeout(timeout_s):
        reader, writer = await http.connect(to)
        try:
            authority = f"{to.address}:{to.port}"
            answer = await http2.unary(reader, writer, _CHECK, request, authority=authority)
        finally:
            writer.close()
    if answer[:2] == _SERVING:
        return Response(200)
    return _unwell(f"service unhealthy (responded with status {answer[1] if len(answer) > 1 else 0})")
