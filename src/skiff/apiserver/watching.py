"""What happens from now on? A watch over HTTP: JSON events, tables for kubectl, bookmarks, and the list first if asked for."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
from aiohttp import web

from skiff.apiserver import selectors, tables
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError
from skiff.kinds import Kind
from skiff.queries import number, truth
from skiff.store.history import Change, Follower, GoneError

BOOKMARK_S = 60.0
#: The real server ends watches after 30 to 60 minutes, so that clients spread; so does this one.
LONGEST_S = 1800.0
INITIAL_END = "k8s.io/initial-events-end"
#: What may end a watch earlier, and be said last, besides what its client asked for (``skiff.realism``).
LONGEST: web.RequestKey[float] = web.RequestKey("longest", float)
LAST_WORDS: web.RequestKey[bytes] = web.RequestKey("last words", bytes)
#: Events which are sent together when so many are there: a write costs more than an event.
_AT_ONCE = 50


async def watch(request: web.Request, registry: Registry, kind: Kind, namespace: str) -> web.StreamResponse:
    """Stream events until the client leaves, the time is over, or the watcher falls behind."""
    it = _Watch(request, registry, kind, namespace)
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache"})
    response.enable_chunked_encoding()
    first = truth(request, "sendInitialEvents")
    given = request.query.get("resourceVersion", "")
    everything = first or given in ("", "0")
    longest_s = _longest(request)
    try:
        since = registry.store.committed if everything else int(given)
        follower = registry.store.follow(kind.storage, since)
    except GoneError as gone:
        raise ApiError(410, "Expired", str(gone)) from gone
    except ValueError as wrong:
        raise ApiError(400, "BadRequest", f"invalid resourceVersion {given[:100]!r}") from wrong
    # Of exactly that revision.
    present = registry.store.read_all(kind.storage, namespace) if everything else []
    try:
        await response.prepare(request)
        # Made as they are read: a watcher may be slow, or many.
        for start in range(0, len(present), _AT_ONCE):
            part = present[start : start + _AT_ONCE]
            if told := b"".join(it.line("ADDED", obj) for obj in part if it.means(obj)):
                await response.write(told)
        if first:
            await response.write(it.bookmark(since, {INITIAL_END: "true"}))
        await _stream(it, follower, response, min(longest_s, request.get(LONGEST, longest_s)))
        if last := request.get(LAST_WORDS):
            await response.write(last)
        await response.write_eof()
    except ConnectionResetError:
        pass  # the client left
    finally:
        follower.close()
    return response


def _longest(request: web.Request) -> float:
    return float(number(request, "timeoutSeconds") or LONGEST_S * random.uniform(1, 2))


async def _stream(it: _Watch, follower: Follower, response: web.StreamResponse, longest_s: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + longest_s
    while (left := end - loop.time()) > 0:
        try:
            async with asyncio.timeout(min(left, BOOKMARK_S)):  # wait_for would make a task of each event
                change = await follower.next()
        except TimeoutError:
            # Never past a change that is still to be told: who resumes there would miss it.
            if it.bookmarks and loop.time() < end and not follower.waiting:
                await response.write(it.bookmark(it.registry.store.committed, {}))
            continue
        lines: list[bytes] = []
        while change is not None:
            lines.append(it.change(change) or b"")
            if not follower.waiting or len(lines) >= _AT_ONCE:
                break
            change = await follower.next()
        if told := b"".join(lines):
            await response.write(told)
        if change is None:
            return


class _Watch:
    """What one watcher wants to hear, and in which form."""

    def __init__(self, request: web.Request, registry: Registry, kind: Kind, namespace: str) -> None:
        self.registry, self.kind, self._namespace = registry, kind, namespace
        self._labels = selectors.by_labels(request.query.get("labelSelector", ""))
        self._fields = selectors.by_fields(request.query.get("fieldSelector", ""), kind)
        self._table = "as=Table" in request.headers.get("Accept", "")
        self._include = request.query.get("includeObject", "Metadata")
        self._header = True
        self.bookmarks = truth(request, "allowWatchBookmarks")

    def means(self, obj: Any) -> bool:
        """Whether an object is among those watched."""
        if self._namespace and obj["metadata"].get("namespace") != self._namespace:
            return False
        return self._labels(obj) and self._fields(obj)

    def change(self, it: Change) -> bytes | None:
        """An event as the selectors see it: an object that no longer matches is DELETED."""
        now = it.type != "DELETED" and self.means(it.object)
        before = it.previous is not None and self.means(it.previous)
        if now:
            return self.line("MODIFIED" if before else "ADDED", it.object, it.body)
        if before:
            return self.line("DELETED", it.object, it.body)
        return None

    def line(self, kind: str, obj: Any, body: bytes = b"") -> bytes:
        """One event. ``body`` is the object as JSON, when somebody made it already."""
        if self._table:
            obj = tables.table(self.kind, [obj], include=self._include, header=self._header)
            self._header = False
        elif self.kind.custom:  # it may have been stored in another version
            obj = {**obj, "apiVersion": self.kind.api_version}
        elif body and not self.registry.shown:
            return b'{"type":"%s","object":%s}\n' % (kind.encode(), body)
        if self.registry.shown:
            obj = self.registry.shown(obj)
        return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"

    def bookmark(self, revision: int, annotations: dict[str, str]) -> bytes:
        """How far the watch is."""
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if annotations:
            metadata["annotations"] = annotations
        obj = {"kind": self.kind.kind, "apiVersion": self.kind.api_version, "metadata": metadata}
        return msgspec.json.encode({"type": "BOOKMARK", "object": obj}) + b"\n"
