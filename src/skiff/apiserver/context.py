"""What holds for the request that is being served? Known to admission without passing through every call."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

#: Who asks (``skiff.apiserver.access.User``); None inside the daemon.
USER: ContextVar[Any] = ContextVar("user", default=None)
DRY_RUN: ContextVar[bool] = ContextVar("dry_run", default=False)
#: What webhooks want the client to know: a list for each request. Inside the daemon nobody is told.
WARNINGS: ContextVar[list[str]] = ContextVar("warnings")


def warn(*texts: str) -> None:
    """Tell the client, if there is one."""
    if (told := WARNINGS.get(None)) is not None:
        told.extend(texts)
