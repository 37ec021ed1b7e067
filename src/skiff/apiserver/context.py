"""What holds for the request that is being served? Known to admission without passing through every call."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

#: Who asks (``skiff.apiserver.access.User``); None inside the daemon.
USER: ContextVar[Any] = ContextVar("user", default=None)
DRY_RUN: ContextVar[bool] = ContextVar("dry_run", default=False)
#: What webhooks want the client to know. A list of its own for each request.
WARNINGS: ContextVar[list[str]] = ContextVar("warnings", default=[])  # noqa: B039  # set anew for every request
