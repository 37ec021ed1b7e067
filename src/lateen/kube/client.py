"""How do we speak with Kubernetes? A thin client of its HTTP API: objects are what JSON says."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import msgspec

from lateen.api import reading
from lateen.kube.config import Connection, load
from lateen.kube.credentials import Credentials, Proof
from lateen.kube.errors import KubeError, decoded, refusal
from lateen.kube.forward import PROTOCOL, http_body, received

__all__ = ["KubeClient", "KubeError", "Object", "http_body", "path_of"]

T = TypeVar("T")
Object = dict[str, Any]
Objects = list[Object]

#: Of one request, and of all attempts together.
TIMEOUT_S, PATIENCE_S = 30.0, 60.0
#: Attempts of a request that may be repeated, when the server does not answer or says it is overloaded.
ATTEMPTS = 5
_FIRST_WAIT_S = 0.2
#: A server may ask to be left alone for longer than a user waits.
_LONGEST_WAIT_S = 10.0
_OVERLOADED, _FAILED = 429, (500, 502, 503, 504)
#: A list whose pages are forgotten is begun again so often, the last time without pages.
_LISTS = 3
#: An object has at most 1.5 MB in etcd; an event is one object.
_LONGEST_LINE = 16 * 1024 * 1024
_PAGE = "500"

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


def path_of(obj: Mapping[str, Any], *, named: bool = True) -> str:
    """The URL path of an object, or of its collection."""
    api_version, kind, metadata = obj["apiVersion"], obj["kind"], reading.part(obj, "metadata")
    where = "" if kind in _CLUSTER_WIDE else f"/namespaces/{metadata.get('namespace') or 'default'}"
    plural = _PLURALS.get(kind) or f"{kind.lower()}s"
    return f"{_root(api_version)}{where}/{plural}" + (f"/{metadata['name']}" if named else "")


def _root(api_version: str) -> str:
    """The core group is older than groups, and lies elsewhere."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


class KubeClient:
    """One connection pool to one cluster. Use it as an async context manager.

    What fails for a moment (no answer, 429, 5xx) is tried again, within bounds; what the server has done in spite of a
    lost answer is not done twice.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._credentials = Credentials(connection)
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_environment(cls, kubeconfig: str | None, context: str | None) -> Self:
        """The cluster of a kubeconfig, or the one we run in."""
        return cls(load(kubeconfig, context))

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100))
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
        """All objects of a kind ("" is every namespace), page by page; from the beginning when a page is forgotten."""
        path = self.collection(api_version, plural, namespace)
        selected = {"labelSelector": labels} if labels else {}
        for attempt in range(1, _LISTS + 1):
            last = attempt == _LISTS
            try:
                return await self._pages(path, selected if last else {**selected, "limit": _PAGE})
            except KubeError as refused:
                if refused.code != 410 or last:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _pages(self, path: str, query: Mapping[str, str]) -> Objects:
        found: Objects = []
        while True:
            page = await self._request("GET", path, query=query)
            found += reading.parts(page, "items")
            following = reading.text(page, "metadata", "continue")
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
        return await self._request("GET", path, query=query)

    async def lines(self, path: str, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """The lines of a streaming answer until the server ends it; silence of two minutes ends it too."""
        timeout = aiohttp.ClientTimeout(total=None, connect=TIMEOUT_S, sock_read=120.0)
        proof = await self._credentials.current()
        async with self._open.get(
            self.connection.server + path, params=query, timeout=timeout, **self._how(proof)
        ) as answer:
            if answer.status >= 400:
                if answer.status == 401:
                    self._credentials.refused(proof)  # whoever follows asks again
                raise refusal(answer.status, await answer.read(), answer.headers.get("Retry-After", ""))
            rest: list[bytes] = []
            size = 0
            async for chunk in answer.content.iter_any():
                first, *others = chunk.split(b"\n")
                rest.append(first)
                size += len(first)
                if size > _LONGEST_LINE:
                    raise KubeError(502, "NotAnObject", f"{path}: a line has more than {_LONGEST_LINE} bytes")
                for following in others:
                    if (line := b"".join(rest)).strip():
                        yield line
                    rest, size = [following], len(following)

    async def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """A new object; KubeError 409 when there is one, unless it is what we have just made and no answer came."""
        query = {"dryRun": "All"} if dry_run else {}
        path, lost = path_of(obj, named=False), False

        async def once() -> Object:
            nonlocal lost
            try:
                return await self._once("POST", path, obj, query, "application/json")
            except KubeError as refused:
                lost = lost or refused.code in _FAILED
                if lost and refused.code == 409 and (made := await self._made(obj)):
                    return made
                raise
            except (aiohttp.ClientError, TimeoutError):
                lost = True
                raise

        # One without a name is stored twice if it is sent twice; a review is stored nowhere.
        repeatable = bool(reading.name(obj)) or str(obj["kind"]).endswith("Review")
        return await self._repeated(once, failed=repeatable)

    async def _made(self, obj: Object) -> Object | None:
        found = await self.get(path_of(obj))
        wanted = {key: it for key, it in obj.items() if key != "status"}  # which a server drops at creation
        return found if found is not None and reading.contains(found, wanted) else None

    async def apply(self, obj: Object, manager: str, *, force: bool = True) -> Object:
        """Server-side apply: what the object says, and nothing of what others say."""
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._request(
            "PATCH",
            path_of(obj),
            body=obj,
            query=query,
            content="application/apply-patch+yaml",
            conflicts=force,
        )

    async def patch(self, obj: Mapping[str, Any], patch: Object) -> Object:
        """JSON merge patch of the object that is named; 409 when it names a resourceVersion that is no longer."""
        anyhow = not reading.text(patch, "metadata", "resourceVersion")
        return await self._request(
            "PATCH", path_of(obj), body=patch, content="application/merge-patch+json", conflicts=anyhow
        )

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
        content: str = "application/json", conflicts: bool = False,
    ) -> Object:  # fmt: skip
        return await self._repeated(
            lambda: self._once(method, path, body, query, content), conflicts=conflicts
        )

    async def _repeated(
        self, once: Callable[[], Awaitable[T]], *, failed: bool = True, conflicts: bool = False
    ) -> T:
        """Again when there is no answer or the server failed (``failed``), is overloaded, or changed it meanwhile."""
        until = time.monotonic() + PATIENCE_S
        for attempt in range(1, ATTEMPTS + 1):
            wait_s = _FIRST_WAIT_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
            try:
                return await once()
            except (
                aiohttp.ClientConnectionError,
                aiohttp.ClientPayloadError,
                ConnectionError,
                TimeoutError,
            ) as problem:
                hopeless = isinstance(problem, aiohttp.ClientConnectorCertificateError | aiohttp.InvalidURL)
                if hopeless or not failed or attempt == ATTEMPTS or time.monotonic() > until:
                    raise
            except KubeError as refused:
                again = (
                    refused.code == _OVERLOADED
                    or (refused.code in _FAILED and (failed or refused.retry_after_s is not None))
                    or (
                        conflicts
                        and refused.code == 409
                        and refused.reason == "Conflict"
                        and not _owned(refused)
                    )
                )
                if not again or attempt == ATTEMPTS or time.monotonic() > until:
                    raise
                if refused.retry_after_s is not None:
                    wait_s = min(refused.retry_after_s, _LONGEST_WAIT_S) * random.uniform(1.0, 1.25)
            await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    async def _once(
        self, method: str, path: str, body: Object | None, query: Mapping[str, str] | None, content: str
    ) -> Object:
        data = msgspec.json.encode(body) if body is not None else None
        proof = await self._credentials.current()
        try:
            return await self._sent(proof, method, path, data, query, content)
        except KubeError as refused:
            if refused.code != 401 or not self._credentials.refused(proof):
                raise
        return await self._sent(await self._credentials.current(), method, path, data, query, content)

    async def _sent(
        self, proof: Proof, method: str, path: str, data: bytes | None, query: Mapping[str, str] | None, content: str
    ) -> Object:  # fmt: skip
        how = self._how(proof)
        how["headers"] += [("Accept", "application/json"), *([("Content-Type", content)] if data else [])]
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        url = self.connection.server + path
        async with self._open.request(method, url, data=data, params=query, timeout=timeout, **how) as answer:
            raw = await answer.read()
            if answer.status >= 400:
                raise refusal(answer.status, raw, answer.headers.get("Retry-After", ""))
            return decoded(raw, url)

    @property
    def _open(self) -> aiohttp.ClientSession:
        assert self._session, "use the client as a context manager"
        return self._session

    def _how(self, proof: Proof) -> dict[str, Any]:
        """What every request goes with."""
        it = self.connection
        bearer = [("Authorization", f"Bearer {proof.token}")] if proof.token else []
        headers = [*it.headers, *bearer]  # pairs, since a name may stand twice
        tls: ssl.SSLContext | bool = proof.tls or False
        return {
            "headers": headers, "ssl": tls, "server_hostname": it.server_name or None, "proxy": it.proxy or None,
        }  # fmt: skip

    async def pod_get(self, namespace: str, pod: str, port: int, path: str) -> bytes:
        """The body of ``GET http://localhost:port/path`` inside a pod, through the API server's port-forward."""
        return await self._repeated(lambda: self._pod_got(namespace, pod, port, path))

    async def _pod_got(self, namespace: str, pod: str, port: int, path: str) -> bytes:
        url = f"{self.connection.server}/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}"
        how = self._how(await self._credentials.current())
        async with asyncio.timeout(TIMEOUT_S):
            try:
                connecting = self._open.ws_connect(url, protocols=(PROTOCOL,), max_msg_size=0, **how)
                async with connecting as socket:
                    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                    await socket.send_bytes(b"\x00" + request.encode())
                    raw = await received(socket, port)
            except aiohttp.WSServerHandshakeError as refused:
                said = f"port-forward to {namespace}/{pod} was refused: {refused.message} (HTTP {refused.status})"
                raise KubeError(refused.status, "PortForward", said) from refused
        return http_body(raw)


def _owned(refused: KubeError) -> bool:
    """Whether the conflict is about who owns a field, which lasts, rather than about what came between."""
    return "conflict with" in str(refused)
