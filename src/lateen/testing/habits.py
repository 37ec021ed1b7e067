"""A proxy with a real API server's habits, to be put before a real API server that has none.

A kube-apiserver answers 429 and says when to come again, loses connections before and after it has acted, forgets pages and
history, tells nothing of status until a controller has looked, sends fields nobody asked for, and numbers versions with
nineteen digits. Here all of that happens by a seed, often, and never so often in a row that a patient client gives up.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

Object = dict[str, Any]

#: Versions of objects are text: who takes them for numbers of 53 bits loses some.
OFFSET = 1_600_000_000_000_000_000
#: A client that tries five times must come through.
IN_A_ROW = 2
_HOP = {"host", "connection", "transfer-encoding", "content-length", "upgrade", "accept-encoding"}
#: Kinds whose status a controller writes a moment after they were made.
_LATE = {"CustomResourceDefinition", "Deployment", "Namespace", "Service"}
_LARGEST = 16 * 1024 * 1024


@dataclass(frozen=True)
class Rates:
    """How often something happens, as a share of requests, or of lines of a watch."""

    overloaded: float = 0.05  # 429, with Retry-After
    failed: float = 0.05  # 500, 503, 504
    reset_before: float = 0.04
    reset_after: float = 0.05
    cut: float = 0.03  # in the middle of an answer, or of a line
    conflict: float = 0.1  # of changes
    expired: float = 0.1  # of pages, and of watches
    slow: float = 0.1
    ended: float = 0.05  # watches, in order
    bookmark: float = 0.2
    doubled: float = 0.2  # objects that are told first without status, then with it
    late_s: float = 0.1  # status is not there so long after an object was first seen
    watch_s: tuple[float, float] = (0.2, 3.0)  # a watch is cut after so long at the latest


class Habits:
    """Listens on loopback; use it as an async context manager. ``happened`` counts what it did.

    Who shows a token is passed on with it; who shows none is whom ``administrator`` proves.
    """

    def __init__(
        self, upstream: str, *, administrator: ssl.SSLContext, anybody: ssl.SSLContext, serve: ssl.SSLContext | None = None,
        seed: int = 0, rates: Rates | None = None,
    ) -> None:  # fmt: skip
        self.upstream, self.rates = upstream, rates or Rates()
        self.happened: Counter[str] = Counter()
        self.url = ""
        self._contexts, self._serve = (administrator, anybody), serve
        self._chance = random.Random(seed)
        self._troubles: Counter[str] = Counter()  # in a row, by method and path
        self._first_seen: dict[str, float] = {}
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._serve).start()
        scheme = "https" if self._serve else "http"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner:
            await self._runner.cleanup()
        if self._session:
            await self._session.close()

    # --- one request -----------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = await request.read()
        key = f"{request.method} {request.path}"
        if await self._lost(request, key):
            return web.Response()
        if (refused := self._refused(request, key, raw)) is not None:
            return refused
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._tunnel(request)
            if request.query.get("watch") in ("true", "1"):
                return await self._watch(request, key)
            return await self._answer(request, key, raw)
        except aiohttp.WSServerHandshakeError as unmet:
            return _status(unmet.status, "", "the upgrade was refused")
        except (aiohttp.ClientError, OSError):  # there is no server behind us at the moment
            return self._abort(request, "nobody")

    async def _lost(self, request: web.BaseRequest, key: str) -> bool:
        """Whether the connection was lost before anything was done."""
        if self._happens("slow", self.rates.slow):
            await asyncio.sleep(self._chance.uniform(0.0, 0.05))
        if self._troubled(key, "reset_before", self.rates.reset_before):
            self._abort(request, "")
            return True
        return False

    def _refused(self, request: web.BaseRequest, key: str, raw: bytes) -> web.Response | None:
        """What a server says instead of doing it."""
        if self._troubled(key, "overloaded", self.rates.overloaded):
            said = "too many requests, please try again later"
            return _status(
                429, "TooManyRequests", said, {"Retry-After": "1" if self._chance.random() < 0.1 else "0"}
            )
        if self._troubled(key, "failed", self.rates.failed):
            code, reason, said = self._chance.choice([
                (500, "InternalError", "etcdserver: leader changed"), (503, "ServiceUnavailable", "apiserver is shutting down"),
                (504, "Timeout", "the server was unable to return a response in the time allotted"),
            ])  # fmt: skip
            return _status(code, reason, said)
        # Where a version is named, a conflict means that it has changed; where none is, that others were quicker.
        changes = request.method in ("PUT", "PATCH") and b'"resourceVersion"' not in raw
        if changes and self._troubled(key, "conflict", self.rates.conflict):
            said = (
                "the object has been modified; please apply your changes to the latest version and try again"
            )
            return _status(409, "Conflict", said)
        pages = "continue" in request.query or request.query.get("watch") in ("true", "1")
        if pages and self._troubled(key, "expired", self.rates.expired):
            return _status(
                410, "Expired", "too old resource version: the provided continue parameter is too old"
            )
        return None

    async def _answer(self, request: web.BaseRequest, key: str, raw: bytes) -> web.StreamResponse:
        query = dict(request.query)
        if "limit" in query:  # a server may return fewer than it may
            query["limit"] = str(min(int(query["limit"]), self._chance.randint(1, 5)))
        async with self._sent(request, query, _unshifted(raw)) as answer:
            body = await answer.read()
            status, kind = answer.status, answer.headers.get("Content-Type", "")
        if request.method != "GET" and self._troubled(key, "reset_after", self.rates.reset_after):
            return self._abort(request, "")
        if kind.startswith("application/json"):
            alone = request.method == "GET" and status == 200
            body = json.dumps(self._habitual(json.loads(body), alone=alone)).encode()
        if self._troubled(key, "cut", self.rates.cut):
            headers = {"Content-Type": kind, "Content-Length": str(len(body))}
            half = web.StreamResponse(status=status, headers=headers)
            await half.prepare(request)
            await half.write(body[: len(body) // 2])
            await asyncio.sleep(0.01)
            return self._abort(request, "")
        self._troubles.pop(key, None)
        return web.Response(status=status, body=body, headers={"Content-Type": kind})

    # --- watches ---------------------------------------------------------------------------------

    async def _watch(self, request: web.BaseRequest, key: str) -> web.StreamResponse:
        query = dict(request.query)
        if query.get("resourceVersion"):
            query["resourceVersion"] = _smaller(query["resourceVersion"])
        async with self._sent(request, query, b"") as upstream:
            if upstream.status != 200:
                said = await upstream.read()
                return web.Response(status=upstream.status, body=said, content_type="application/json")
            self._troubles.pop(key, None)
            answer = web.StreamResponse(headers={"Content-Type": "application/json"})
            answer.enable_chunked_encoding()
            await answer.prepare(request)
            try:
                async with asyncio.timeout(self._chance.uniform(*self.rates.watch_s)):
                    async for line in upstream.content:
                        for it in self._events(json.loads(line)):
                            if not await self._told(request, answer, json.dumps(it).encode() + b"\n"):
                                return answer
                        if self._happens("ended", self.rates.ended):
                            break
            except TimeoutError:
                self.happened["watch cut"] += 1
                return self._abort(request, "")
        with contextlib.suppress(ConnectionError):
            await answer.write_eof()
        return answer

    def _events(self, event: Object) -> list[Object]:
        """An event as it becomes known: an object without status first, and bookmarks between."""
        obj = event["object"]
        found = [{**event, "object": self._habitual(obj, alone=False)}]
        if event["type"] == "ADDED" and "status" in obj and self._happens("doubled", self.rates.doubled):
            bare = {**found[0]["object"], "status": self._chance.choice([None, {}])}
            found = [{"type": "ADDED", "object": bare}, {"type": "MODIFIED", "object": found[0]["object"]}]
        if event["type"] != "ERROR" and self._happens("bookmark", self.rates.bookmark):
            metadata = {
                "resourceVersion": found[-1]["object"]["metadata"]["resourceVersion"],
                "creationTimestamp": None,
            }
            bare = {"kind": obj.get("kind"), "apiVersion": obj.get("apiVersion"), "metadata": metadata}
            found.append({"type": "BOOKMARK", "object": bare})
        if self._happens("expired", self.rates.expired / 4):
            status = _refusal(410, "Expired", "too old resource version")
            found.append({"type": "ERROR", "object": status})
        return found

    async def _told(self, request: web.BaseRequest, answer: web.StreamResponse, line: bytes) -> bool:
        """One line, in pieces; False when the connection broke within it."""
        at = self._chance.randrange(1, len(line))
        await answer.write(line[:at])
        if self._happens("cut", self.rates.cut):
            await asyncio.sleep(0.01)
            self._abort(request, "")
            return False
        await asyncio.sleep(0)
        await answer.write(line[at:])
        return True

    async def _tunnel(self, request: web.BaseRequest) -> web.StreamResponse:
        """A websocket, as it is."""
        protocols = request.headers.get("Sec-WebSocket-Protocol", "").split(", ")
        assert self._session
        headers = {key: it for key, it in request.headers.items() if key.lower() == "authorization"}
        async with self._session.ws_connect(
            self.upstream + request.path_qs, protocols=protocols, headers=headers, ssl=self._tls(request), max_msg_size=0
        ) as behind:  # fmt: skip
            before = web.WebSocketResponse(protocols=protocols, max_msg_size=0)
            await before.prepare(request)

            async def inward() -> None:
                async for message in before:
                    await behind.send_bytes(message.data)

            task = asyncio.ensure_future(inward())
            try:
                async for message in behind:
                    await before.send_bytes(message.data)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await before.close()
            return before

    # --- what comes back -------------------------------------------------------------------------

    def _habitual(self, obj: Any, *, alone: bool) -> Any:
        """An answer as a real server gives it. ``alone``: one that nobody hears of by watching."""
        if not isinstance(obj, dict) or obj.get("kind") == "Status":
            return obj
        found = _shifted(obj)
        if "items" in obj and str(obj.get("kind", "")).endswith("List"):
            items = [self._habitual(it, alone=False) for it in obj["items"] or ()]
            return {**found, "items": items or (None if self._chance.random() < 0.5 else [])}
        metadata = found.get("metadata")
        if not isinstance(metadata, dict) or "uid" not in metadata:
            return found
        absent = [
            it for it in ("annotations", "labels", "ownerReferences", "finalizers") if it not in metadata
        ]
        fields: Object = {"f:metadata": {"f:labels": {".": {}}}, "f:spec": {}}
        entry = {
            "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": found.get("apiVersion"), "time": None,
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        }  # fmt: skip
        found["metadata"] = {
            **metadata, "managedFields": [entry], "selfLink": None, "generation": metadata.get("generation", 1),
            **{it: None for it in absent if self._chance.random() < 0.5},
        }  # fmt: skip
        seen = self._first_seen.setdefault(metadata["uid"], time.monotonic())
        late = alone and found.get("kind") in _LATE
        if late and time.monotonic() - seen < self.rates.late_s:
            self.happened["late"] += 1
            found["status"] = self._chance.choice(
                [None, {}, {"conditions": None}, {"conditions": [], "replicas": None}]
            )
        return found

    # --- chance ----------------------------------------------------------------------------------

    def _happens(self, what: str, rate: float) -> bool:
        if self._chance.random() >= rate:
            return False
        self.happened[what] += 1
        return True

    def _troubled(self, key: str, what: str, rate: float) -> bool:
        """A request fails by chance, unless it has failed too often in a row."""
        if self._troubles[key] >= IN_A_ROW or not self._happens(what, rate):
            return False
        self._troubles[key] += 1
        return True

    def _abort(self, request: web.BaseRequest, what: str) -> web.Response:
        if what:
            self.happened[what] += 1
        if request.transport:
            request.transport.abort()
        return web.Response()

    def _tls(self, request: web.BaseRequest) -> ssl.SSLContext:
        return self._contexts[1 if "Authorization" in request.headers else 0]

    @contextlib.asynccontextmanager
    async def _sent(
        self, request: web.BaseRequest, query: Mapping[str, str], body: bytes
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session
        headers = {key: it for key, it in request.headers.items() if key.lower() not in _HOP}
        timeout = aiohttp.ClientTimeout(total=None, connect=10.0)
        async with self._session.request(
            request.method, self.upstream + request.path, params=query, data=body or None, headers=headers,
            ssl=self._tls(request), timeout=timeout, read_bufsize=_LARGEST,
        ) as answer:  # fmt: skip
            yield answer


def _shifted(obj: Object) -> Object:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not str(metadata.get("resourceVersion", "")).isdigit():
        return dict(obj)
    return {
        **obj,
        "metadata": {**metadata, "resourceVersion": str(int(metadata["resourceVersion"]) + OFFSET)},
    }


def _unshifted(raw: bytes) -> bytes:
    """A body with the version of an object as the server behind knows it; one that is no JSON as it is."""
    try:
        obj = json.loads(raw) if raw else None
    except ValueError:
        return raw
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(obj, dict) or not isinstance(metadata, dict) or not metadata.get("resourceVersion"):
        return raw
    version = _smaller(str(metadata["resourceVersion"]))
    return json.dumps({**obj, "metadata": {**metadata, "resourceVersion": version}}).encode()


def _smaller(version: str) -> str:
    return str(int(version) - OFFSET) if version.isdigit() and int(version) > OFFSET else version


def _refusal(code: int, reason: str, message: str) -> Object:
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
        "code": code, "details": None,
    }  # fmt: skip


def _status(code: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(_refusal(code, reason, message), status=code, headers=headers)
