"""How do we speak with Kubernetes? A thin client of its HTTP API: objects are what JSON says."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from lateen.kube.config import Connection, load

Object = dict[str, Any]

TIMEOUT_S = 30.0
#: Attempts of a request that may be repeated, when the server does not answer or says it is overloaded.
ATTEMPTS = 4

#: Plurals that are not the lower-case kind with an s.
_PLURALS = {
    "NetworkPolicy": "networkpolicies", "Ingress": "ingresses", "ServiceEntry": "serviceentries",
    "WorkloadEntry": "workloadentries",
    "Telemetry": "telemetries", "AuthorizationPolicy": "authorizationpolicies", "ProxyConfig": "proxyconfigs",
    "Endpoints": "endpoints", "IngressClass": "ingressclasses", "GatewayClass": "gatewayclasses",
}  # fmt: skip
_CLUSTER_WIDE = {
    "Namespace", "Node", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration", "PersistentVolume", "IngressClass", "GatewayClass", "TokenReview", "SubjectAccessReview",
}  # fmt: skip


class KubeError(Exception):
    """The API server refused; the message is its own."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


def path_of(obj: Mapping[str, Any], *, named: bool = True) -> str:
    """The URL path of an object, or of its collection."""
    api_version, kind, metadata = obj["apiVersion"], obj["kind"], obj.get("metadata", {})
    where = "" if kind in _CLUSTER_WIDE else f"/namespaces/{metadata.get('namespace') or 'default'}"
    plural = _PLURALS.get(kind) or f"{kind.lower()}s"
    return f"{_root(api_version)}{where}/{plural}" + (f"/{metadata['name']}" if named else "")


def _root(api_version: str) -> str:
    """The core group is older than groups, and lies elsewhere."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


class KubeClient:
    """One connection pool to one cluster. Use it as an async context manager."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_environment(cls, kubeconfig: str | None, context: str | None) -> Self:
        """The cluster of a kubeconfig, or the one we run in."""
        return cls(load(kubeconfig, context))

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self.connection.tls or False, limit=100)
        self._session = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def get(self, path: str) -> Object | None:
        """What lies under a path; None when nothing does."""
        try:
            return await self._request("GET", path)
        except KubeError as refused:
            if refused.code == 404:
                return None
            raise

    async def list(
        self, api_version: str, plural: str, namespace: str = "", labels: str = ""
    ) -> list[Object]:
        """All objects of a kind ("" is every namespace), page by page."""
        found: list[Object] = []
        query = {"limit": "500", **({"labelSelector": labels} if labels else {})}
        while True:
            page = await self._request("GET", self.collection(api_version, plural, namespace), query=query)
            found += page.get("items") or []
            following = page.get("metadata", {}).get("continue")
            if not following:
                return found
            query = {**query, "continue": following}

    @staticmethod
    def collection(api_version: str, plural: str, namespace: str = "") -> str:
        """The URL path of all objects of a kind."""
        where = f"/namespaces/{namespace}" if namespace else ""
        return f"{_root(api_version)}{where}/{plural}"

    async def read(self, path: str, query: Mapping[str, str]) -> Object:
        """GET with a query; KubeError when it is refused."""
        return await self._request("GET", path, query=query, repeat=False)

    async def lines(self, path: str, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """The lines of a streaming answer until the server ends it; silence of two minutes ends it too."""
        assert self._session, "use the client as a context manager"
        timeout = aiohttp.ClientTimeout(total=None, connect=TIMEOUT_S, sock_read=120.0)
        async with self._session.get(
            self.connection.server + path, params=query, headers=self._headers(), timeout=timeout
        ) as answer:
            if answer.status >= 400:
                raise refusal(answer.status, await answer.read())
            rest = b""
            async for chunk in answer.content.iter_any():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    if line.strip():
                        yield line

    async def create(self, obj: Object) -> Object:
        """A new object; KubeError 409 when there is one."""
        return await self._request("POST", path_of(obj, named=False), body=obj, repeat=False)

    async def apply(self, obj: Object, manager: str, *, force: bool = True) -> Object:
        """Server-side apply: what the object says, and nothing of what others say."""
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._request(
            "PATCH", path_of(obj), body=obj, query=query, content="application/apply-patch+yaml"
        )

    async def patch(self, obj: Mapping[str, Any], patch: Object) -> Object:
        """JSON merge patch of the object that is named."""
        return await self._request("PATCH", path_of(obj), body=patch, content="application/merge-patch+json")

    async def delete(self, obj: Mapping[str, Any]) -> bool:
        """Remove; False when it was not there."""
        try:
            await self._request("DELETE", path_of(obj), body={"propagationPolicy": "Background"})
        except KubeError as refused:
            if refused.code == 404:
                return False
            raise
        return True

    async def _request(
        self, method: str, path: str, *, body: Object | None = None, query: Mapping[str, str] | None = None,
        content: str = "application/json", repeat: bool = True,
    ) -> Object:  # fmt: skip
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS or not repeat
            try:
                return await self._once(method, path, body, query, content)
            except (aiohttp.ClientConnectionError, TimeoutError):
                if last:
                    raise
            except KubeError as refused:
                if last or refused.code not in (429, 500, 502, 503, 504):
                    raise
            await asyncio.sleep(0.2 * 2**attempt * random.random())
        raise AssertionError("the last attempt returns or raises")

    async def _once(
        self, method: str, path: str, body: Object | None, query: Mapping[str, str] | None, content: str
    ) -> Object:
        assert self._session, "use the client as a context manager"
        data = msgspec.json.encode(body) if body is not None else None
        headers = {
            **self._headers(),
            "Accept": "application/json",
            **({"Content-Type": content} if data else {}),
        }
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        url = self.connection.server + path
        async with self._session.request(
            method, url, data=data, params=query, headers=headers, timeout=timeout
        ) as answer:
            raw = await answer.read()
            if answer.status >= 400:
                raise refusal(answer.status, raw)
            decoded: Object = msgspec.json.decode(raw)
            return decoded

    def _headers(self) -> dict[str, str]:
        bearer = self.connection.bearer()
        return {"Authorization": f"Bearer {bearer}"} if bearer else {}

    async def pod_get(self, namespace: str, pod: str, port: int, path: str) -> bytes:
        """The body of ``GET http://localhost:port/path`` inside a pod, through the API server's port-forward.

        The websocket form ``v4.channel.k8s.io``: channel 0 is data, 1 errors; each begins with the port in two bytes.
        """
        assert self._session, "use the client as a context manager"
        url = f"{self.connection.server}/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}"
        async with asyncio.timeout(TIMEOUT_S):
            async with self._session.ws_connect(
                url, protocols=("v4.channel.k8s.io",), headers=self._headers(), max_msg_size=0
            ) as socket:
                request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                await socket.send_bytes(b"\x00" + request.encode())
                return http_body(await _received(socket, port))


async def _received(socket: aiohttp.ClientWebSocketResponse, port: int) -> bytes:
    parts: dict[int, list[bytes]] = {0: [], 1: []}
    greeting = struct.pack("<H", port)
    greeted: set[int] = set()
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel not in greeted:
            greeted.add(channel)
            data = data.removeprefix(greeting)
        parts.setdefault(channel, []).append(data)
    if said := b"".join(parts[1]):
        raise KubeError(502, "PortForward", said.decode(errors="replace"))
    return b"".join(parts[0])


def http_body(raw: bytes) -> bytes:
    """The body of an HTTP/1.1 response that ended with its connection; KubeError when it is none or an error."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)
    if len(status) < 2 or not status[1].isdigit():
        raise KubeError(502, "PortForward", "the pod did not answer by HTTP on this port")
    if b"transfer-encoding: chunked" in head.lower():
        body = _unchunked(body)
    if int(status[1]) >= 400:
        raise KubeError(
            int(status[1]), "PodError", body.decode(errors="replace")[:300] or head.split(b"\r\n")[0].decode()
        )
    return body


def _unchunked(body: bytes) -> bytes:
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if not length:
            break
        found, body = found + body[:length], body[length + 2 :]
    return found


def refusal(status: int, raw: bytes) -> KubeError:
    """The API server's words in a Status, or what else it said."""
    try:
        said = msgspec.json.decode(raw)
        return KubeError(status, str(said.get("reason", "")), str(said.get("message") or said))
    except (msgspec.DecodeError, AttributeError):
        return KubeError(status, "", f"HTTP {status}: {raw[:300].decode(errors='replace')}")
