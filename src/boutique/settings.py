"""What does the environment tell a service? Ports, addresses, durations; a bad value is reported and left out."""

from __future__ import annotations

import os
import re

from boutique import logs

_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def text(name: str, default: str = "") -> str:
    """A variable without surrounding blanks."""
    return os.environ.get(name, "").strip() or default


def number(name: str, default: float, *, least: float = 0.0) -> float:
    """A number; the default if it is missing, is none or is too small."""
    said = text(name)
    if not said:
        return default
    try:
        value = float(said)
    except ValueError:
        value = float("nan")
    if value >= least and value != float("inf"):
        return value
    logs.say("warning", f"{name}={said!r} is not a number of at least {least:g}: using {default:g}")
    return default


def port(default: int) -> int:
    """``PORT``; 0 lets the system choose one."""
    return int(number("PORT", default))


def listen_address() -> str:
    """``LISTEN_ADDR``: all addresses unless told otherwise."""
    return text("LISTEN_ADDR", "0.0.0.0")


def drain_s() -> float:
    """How long a service goes on accepting after SIGTERM, until callers have learnt that it leaves."""
    return number("DRAIN_SECONDS", 1.5)


def duration_s(said: str) -> float:
    """Seconds of a duration as Go writes it (``500ms``, ``1m30s``); ValueError if it is none."""
    if said == "0":
        return 0.0
    parts = _DURATION.findall(said)
    if not parts or "".join(figure + unit for figure, unit in parts) != said:
        raise ValueError(f"not a duration: {said!r}")
    return sum(float(figure) * _SECONDS[unit] for figure, unit in parts)


def duration_variable_s(name: str) -> float:
    """A duration from the environment, 0 without one."""
    said = text(name, "0")
    try:
        return duration_s(said)
    except ValueError as wrong:
        logs.say("warning", f"{name}: {wrong}: using 0")
        return 0.0
