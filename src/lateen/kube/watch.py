"""What is there, and what changes? List, then watch, for ever: the one way in which anything of ours follows Kubernetes.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Never, ParamSpec

import aiohttp
import msgspec
import structlog

from lateen.kube.client import KubeClient, KubeError, Object
from lateen.observe import metrics

_log = structlog.get_logger("lateen.kube")

#: The server is asked to end a watch after so long, so that a dead connection is noticed.
WATCH_S = 300
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 30.0
#: A kind that is not there, or that we may not read, may be in a moment: its definition or our role is being made.
_LONGEST_REFUSED_S = 5.0
#: A watch that lasted so long has worked.
_WORKED_S = 5.0
#: A watch that was refused so often is begun anew by listing.
_REFUSALS = 5


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
    """Who is told: everything there is, each change (ADDED, MODIFIED, DELETED), and that listing is refused.

    Who is told much may take it in turns: then the next comes when all is taken.
    """

    on_list: Callable[[list[Object]], Awaitable[None] | None]
    on_event: Callable[[str, Object], None]
    on_refused: Callable[[KubeError], None] = lambda _: None


P = ParamSpec("P")


async def follow(client: KubeClient, what: Followed, ears: Ears) -> Never:
    """Tell all objects once, then every change. All are told again only when the server forgot where we were (410)."""
    wait, told, place = _FIRST_WAIT_S, "", _Place()
    while True:
        longest, began, reason, asked_s = _LONGEST_WAIT_S, time.monotonic(), "", 0.0
        try:
            if not place.revision:
                place.revision = await _listed(client, what, ears)
                told, began = "", time.monotonic()
            await _watched(client, what, place, ears)
        except KubeError as refused:
            reason, asked_s = str(refused), refused.retry_after_s or 0.0
            place.refused(refused.code)
            if refused.code == 410:
                reason = ""
            elif refused.code in (403, 404):
                longest = _LONGEST_REFUSED_S
                ears.on_refused(refused)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, msgspec.MsgspecError) as problem:
            reason = str(problem) or type(problem).__name__
        if reason and reason != told:
            _log.warning("will go on following", kind=what.plural, reason=reason, wait_s=round(wait, 1))
            told = reason
        lasted_s = time.monotonic() - began
        if not reason and lasted_s > _FIRST_WAIT_S:
            wait = _FIRST_WAIT_S
            continue  # the server ended it in its time; one that does so at once is not asked without pause
        wait = min(_FIRST_WAIT_S if lasted_s > _WORKED_S else wait, longest)
        # Not before the server asked for, and not all at once.
        await asyncio.sleep(min(asked_s, _LONGEST_WAIT_S) + wait * random.uniform(0.5, 1.5))
        wait *= 2


@dataclass(slots=True)
class _Place:
    """How far we are; empty: nothing was listed, or the server has forgotten it."""

    revision: str = ""
    _refusals: int = 0

    def moved(self, revision: str) -> None:
        """So far it was told."""
        self.revision, self._refusals = revision, 0

    def refused(self, code: int) -> None:
        """Where the place is forgotten, or the kind was gone or hidden for a while, all is listed again.

        So it is when the server refuses again and again for another reason: it may be the place that it cannot bear.
        """
        self._refusals += 1
        if code in (403, 404, 410) or self._refusals >= _REFUSALS:
            self.moved("")


async def _listed(client: KubeClient, what: Followed, ears: Ears) -> str:
    found: list[Object] = []
    query = {**what.query, "limit": "500"}
    while True:
        page = await client.read(what.path, query)
        kind = str(page.get("kind") or "").removesuffix("List")
        found += [
            {"apiVersion": what.api_version, "kind": kind, **it} for it in _objects(page.get("items"), what)
        ]
        metadata = page.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        if not metadata.get("continue"):
            await _tell(what, ears.on_list, found)
            return str(metadata.get("resourceVersion") or "0")
        query = {**query, "continue": str(metadata["continue"])}


async def _watched(client: KubeClient, what: Followed, place: _Place, ears: Ears) -> None:
    """Until the server ends it, or it is cut; ``place`` moves with what was told."""
    query = {
        **what.query, "watch": "true", "resourceVersion": place.revision, "allowWatchBookmarks": "true",
        "timeoutSeconds": str(WATCH_S),
    }  # fmt: skip
    async for line in client.lines(what.path, query):
        try:
            event = msgspec.json.decode(line)
        except RecursionError:
            event = None  # an object of a depth that nobody reads
        kind, obj = (event.get("type"), event.get("object")) if isinstance(event, dict) else (None, None)
        if kind == "ERROR":
            raise _error(obj)
        if kind == "BOOKMARK":
            found = [obj] if isinstance(obj, dict) and isinstance(obj.get("metadata"), dict) else []
        else:
            found = _objects([obj], what)
        for it in found:
            if kind != "BOOKMARK":
                await _tell(what, ears.on_event, str(kind), it)
            place.moved(str(it["metadata"].get("resourceVersion") or place.revision))


def _error(said: object) -> KubeError:
    """The Status of an ERROR event, whatever of it there is."""
    status = said if isinstance(said, dict) else {}
    code = status.get("code")
    wait_s = details.get("retryAfterSeconds") if isinstance(details := status.get("details"), dict) else None
    return KubeError(
        code if isinstance(code, int) else 500, str(status.get("reason") or ""),
        str(status.get("message") or f"the watch failed: {said!r}"[:300]),
        float(wait_s) if isinstance(wait_s, int | float) else None,
    )  # fmt: skip


def _objects(found: object, what: Followed) -> list[Object]:
    """Those that are objects with a name; of others nobody could say what they are."""
    given = found if isinstance(found, list) else []
    good = [it for it in given if _name(it)]
    if len(good) < len(given):
        metrics.INTERNAL_ERRORS.inc()
        _log.warning("the API server told of objects without a name, which are left out", kind=what.plural)
    return good


def _name(it: object) -> bool:
    metadata = it.get("metadata") if isinstance(it, dict) else None
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str) and bool(metadata["name"])


async def _tell(
    what: Followed, ear: Callable[P, Awaitable[None] | None], *args: P.args, **kwargs: P.kwargs
) -> None:
    """A bug in who listens must not end who follows, and with it the whole program."""
    try:
        if (taking := ear(*args, **kwargs)) is not None:
            await taking
    except Exception:  # noqa: BLE001
        metrics.INTERNAL_ERRORS.inc()
        _log.exception("what Kubernetes told could not be taken: a bug", kind=what.plural)
