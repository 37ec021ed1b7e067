"""What holds for the request that is being served? Known to admission without passing through every call."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any, TypeVar

_Made = TypeVar("_Made")

#: Who asks (``skiff.apiserver.access.User``); None inside the daemon.
USER: ContextVar[Any] = ContextVar("user", default=None)
DRY_RUN: ContextVar[bool] = ContextVar("dry_run", default=False)
#: What webhooks want the client to know: a list for each request. Inside the daemon nobody is told.
WARNINGS: ContextVar[list[str]] = ContextVar("warnings")

#: Whether the request carries so much that it is worked on in turns with everybody else's.
LARGE: ContextVar[bool] = ContextVar("large", default=False)


async def breathe() -> None:
    """Between two steps of work on a large object: let others have their turn. What was read before may have changed."""
    if LARGE.get():
        await asyncio.sleep(0)


async def in_turns(steps: Generator[None, None, _Made]) -> _Made:
    """Do the steps; between two of them others have their turn, if the request is large."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            made: _Made = done.value
            return made
        await breathe()


def warn(*texts: str) -> None:
    """Tell the client, if there is one."""
    if (told := WARNINGS.get(None)) is not None:
        told.extend(texts)
