"""What did a container say? ``GET pods/NAME/log``: text in chunks, until its end or for as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from aiohttp import web

from skiff.api import Node
from skiff.errors import ApiError
from skiff.queries import number, truth

#: How long to wait for a first line, or a refusal, before the client is told that the stream is open.
_FIRST_S = 0.3
#: Who asks for the lines of more than thirty years wants all.
_LONGEST_S = 10**9


async def serve(
    request: web.Request, node: Node, namespace: str, pod: str, container: str
) -> web.StreamResponse:
    """Answer the request."""
    lines = node.logs(
        namespace, pod, container, follow=truth(request, "follow"), previous=truth(request, "previous"),
        tail=number(request, "tailLines"), since=_since(request), timestamps=truth(request, "timestamps"),
    )  # fmt: skip
    limit = number(request, "limitBytes")
    first = asyncio.ensure_future(anext(lines, None))
    try:
        done, _ = await asyncio.wait({first}, timeout=_FIRST_S)
        if done:
            first.result()  # a refusal is an answer of its own
        response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-cache"})
        await response.prepare(request)
        await _copy(first, lines, response, limit)
        await response.write_eof()
    except ConnectionError:
        pass  # the client has read enough
    finally:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await lines.aclose()  # type: ignore[attr-defined]  # what the node gives is a generator
    return response


async def _copy(
    first: asyncio.Future[bytes | None], lines: AsyncIterator[bytes], response: web.StreamResponse, limit: int | None
) -> None:  # fmt: skip
    part = await first
    while part is not None:
        if limit is not None:
            part, limit = part[:limit], limit - len(part)
        await response.write(part)
        if limit is not None and limit <= 0:
            return
        part = await anext(lines, None)


def _since(request: web.Request) -> datetime | None:
    moment = request.query.get("sinceTime", "")
    if not moment:
        seconds = number(request, "sinceSeconds")
        return None if seconds is None else datetime.now(UTC) - timedelta(seconds=min(seconds, _LONGEST_S))
    try:
        since = datetime.fromisoformat(moment)
    except ValueError as wrong:
        raise ApiError(400, "BadRequest", f"sinceTime is no time: {moment[:100]!r}") from wrong
    return since if since.tzinfo else since.replace(tzinfo=UTC)
