"""What is there, and what changes? List, then watch, for ever: the one way in which anything of ours follows Kubernetes.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Never

import aiohttp
import msgspec
import structlog

from lateen.kube.client import KubeClient, KubeError, Object

_log = structlog.get_logger("lateen.kube")

#: The server is asked to end a watch after so long, so that a dead connection is noticed.
WATCH_S = 300
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 30.0


class _ExpiredError(Exception):
    """The history is gone: list again."""


async def follow(
    client: KubeClient,
    api_version: str,
    plural: str,
    *,
    namespace: str = "",
    on_list: Callable[[list[Object]], None],
    on_event: Callable[[str, Object], None],
) -> Never:
    """Tell all objects once (and again whenever the history was lost), then every change: ADDED, MODIFIED, DELETED."""
    wait = _FIRST_WAIT_S
    while True:
        try:
            revision = await _listed(client, api_version, plural, namespace, on_list)
            wait = _FIRST_WAIT_S
            while True:
                revision = await _watched(client, api_version, plural, namespace, revision, on_event)
        except _ExpiredError:
            continue
        except (aiohttp.ClientError, OSError, TimeoutError, KubeError, msgspec.DecodeError) as problem:
            _log.warning(
                "will list again",
                kind=plural,
                reason=str(problem) or type(problem).__name__,
                wait_s=round(wait, 1),
            )
        await asyncio.sleep(wait * random.uniform(0.5, 1.5))
        wait = min(wait * 2, _LONGEST_WAIT_S)


async def _listed(
    client: KubeClient, api_version: str, plural: str, namespace: str, on_list: Callable[[list[Object]], None]
) -> str:
    path = client.collection(api_version, plural, namespace)
    found: list[Object] = []
    query = {"limit": "500"}
    while True:
        page = await client.read(path, query)
        kind = str(page.get("kind", "")).removesuffix("List")
        found += [{"apiVersion": api_version, "kind": kind, **it} for it in page.get("items") or []]
        metadata: dict[str, Any] = page.get("metadata") or {}
        if not metadata.get("continue"):
            on_list(found)
            return str(metadata.get("resourceVersion", "0"))
        query = {"limit": "500", "continue": metadata["continue"]}


async def _watched(
    client: KubeClient, api_version: str, plural: str, namespace: str, revision: str,
    on_event: Callable[[str, Object], None],
) -> str:  # fmt: skip
    """Until the server ends it; returns how far we are."""
    path = client.collection(api_version, plural, namespace)
    query = {
        "watch": "true", "resourceVersion": revision, "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_S),
    }  # fmt: skip
    async for line in client.lines(path, query):
        event = msgspec.json.decode(line)
        obj: Object = event["object"]
        if event["type"] == "ERROR":
            if obj.get("code") == 410:
                raise _ExpiredError
            raise KubeError(
                int(obj.get("code", 500)), str(obj.get("reason", "")), str(obj.get("message", ""))
            )
        revision = obj["metadata"].get("resourceVersion", revision)
        if event["type"] != "BOOKMARK":
            on_event(event["type"], obj)
    return revision
