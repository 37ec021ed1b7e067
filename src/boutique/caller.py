"""On whose behalf does a service call others? The trace and the deadline of the request it is answering."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, NamedTuple

#: Headers that join the spans of proxies to one trace; a service must hand them on, for no proxy can know
#: which outgoing call belongs to which incoming one.
TRACING = frozenset({
    "x-request-id", "traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid",
    "x-b3-sampled", "x-b3-flags", "x-ot-span-context", "x-cloud-trace-context", "x-datadog-trace-id",
    "x-datadog-parent-id", "x-datadog-sampling-priority",
})  # fmt: skip
#: What gRPC would not carry, or only by refusing the whole call, is not handed on.
_LONGEST = 4096


class Caller(NamedTuple):
    """``deadline``: the moment of the loop's clock after which nobody waits for the answer; None without one."""

    headers: tuple[tuple[str, str], ...] = ()
    deadline: float | None = None


_NOBODY = Caller()
_current: ContextVar[Caller] = ContextVar("caller")


def enter(headers: Iterable[tuple[Any, Any]], remaining_s: float | None) -> None:
    """The current task answers this request from now on."""
    named = ((str(name).lower(), str(value)) for name, value in headers)
    kept = tuple((name, value) for name, value in named if name in TRACING and _is_carried(value))
    deadline = asyncio.get_running_loop().time() + remaining_s if remaining_s is not None else None
    _current.set(Caller(kept, deadline))


def headers() -> tuple[tuple[str, str], ...]:
    """What to hand on with an outgoing call."""
    return _current.get(_NOBODY).headers


def time_left_s(at_most_s: float) -> float:
    """How long an outgoing call may take: never longer than its caller waits."""
    deadline = _current.get(_NOBODY).deadline
    if deadline is None:
        return at_most_s
    return max(0.001, min(at_most_s, deadline - asyncio.get_running_loop().time()))


def _is_carried(value: str) -> bool:
    return value.isascii() and value.isprintable() and len(value) <= _LONGEST
