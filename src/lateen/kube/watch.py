"""What is there, and what changes? List, then watch, for ever: the one way in which anything of ours follows Kubernetes.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Never

import aiohttp
import msgspec
import structlog

from lateen.kube.client import KubeClient, KubeError, Object

_log = structlog.get_logger("lateen.kube")

#: The server is asked to end a watch after so long, so that a dead connection is noticed.
WATCH_S = 300
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 30.0
#: A kind that is not there, or that we may not read, may be in a moment: its definition or our role is being made.
_LONGEST_REFUSED_S = 5.0
#: A watch that lasted so long has worked.
_WORKED_S = 5.0


@dataclass(frozen=True, slots=True)
class Followed:
    """What is followed. ``query`` selects, as ``fieldSelector`` and ``labelSelector`` do."""

    api_version: str
    plural: str
    namespace: str = ""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The URL path of the collection."""
        return KubeClient.collection(self.api_version, self.plural, self.namespace)


@dataclass(frozen=True, slots=True)
class Ears:
    """Who is told: everything there is, each change (ADDED, MODIFIED, DELETED), and that listing is refused."""

    on_list: Callable[[list[Object]], None]
    on_event: Callable[[str, Object], None]
    on_refused: Callable[[KubeError], None] = lambda _: None


class _ExpiredError(Exception):
    """The history is gone: list again."""


async def follow(client: KubeClient, what: Followed, ears: Ears) -> Never:
    """Tell all objects once (and again whenever the history or the connection was lost), then every change."""
    wait, told = _FIRST_WAIT_S, ""
    while True:
        longest, began = _LONGEST_WAIT_S, time.monotonic()
        try:
            revision = await _listed(client, what, ears)
            told, began = "", time.monotonic()
            while True:
                revision = await _watched(client, what, revision, ears)
                if time.monotonic() - began < _FIRST_WAIT_S:
                    break  # a server that ends watches at once is not asked without pause
                wait, began = _FIRST_WAIT_S, time.monotonic()
        except _ExpiredError:
            reason = ""
        except KubeError as refused:
            reason = str(refused)
            if refused.code in (403, 404):
                longest = _LONGEST_REFUSED_S
                ears.on_refused(refused)
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError) as problem:
            reason = str(problem) or type(problem).__name__
        else:
            reason = ""
        if reason and reason != told:
            _log.warning("will list again", kind=what.plural, reason=reason, wait_s=round(wait, 1))
            told = reason
        if time.monotonic() - began > _WORKED_S:
            wait = _FIRST_WAIT_S
        wait = min(wait, longest)
        await asyncio.sleep(wait * random.uniform(0.5, 1.5))
        wait *= 2


async def _listed(client: KubeClient, what: Followed, ears: Ears) -> str:
    found: list[Object] = []
    query = {**what.query, "limit": "500"}
    while True:
        try:
            page = await client.read(what.path, query)
        except KubeError as refused:
            if refused.code == 410:  # the pages are of a state that is forgotten
                raise _ExpiredError from refused
            raise
        kind = str(page.get("kind", "")).removesuffix("List")
        found += [{"apiVersion": what.api_version, "kind": kind, **it} for it in page.get("items") or []]
        metadata: dict[str, Any] = page.get("metadata") or {}
        if not metadata.get("continue"):
            ears.on_list(found)
            return str(metadata.get("resourceVersion", "0"))
        query = {**query, "continue": metadata["continue"]}


async def _watched(client: KubeClient, what: Followed, revision: str, ears: Ears) -> str:
    """Until the server ends it; returns how far we are."""
    query = {
        **what.query, "watch": "true", "resourceVersion": revision, "allowWatchBookmarks": "true",
        "timeoutSeconds": str(WATCH_S),
    }  # fmt: skip
    try:
        async for line in client.lines(what.path, query):
            event = msgspec.json.decode(line)
            obj: Object = event["object"]
            if event["type"] == "ERROR":
                raise KubeError(
                    int(obj.get("code", 500)), str(obj.get("reason", "")), str(obj.get("message", ""))
                )
            revision = obj["metadata"].get("resourceVersion", revision)
            if event["type"] != "BOOKMARK":
                ears.on_event(event["type"], obj)
    except KubeError as refused:
        if refused.code == 410:
            raise _ExpiredError from refused
        raise
    return revision
