"""How does kubectl write times, labels and lists? What the cells of all kinds share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from skiff.api import Object

Cells = Callable[[Object, datetime], list[Any]]

NONE, UNSET = "<none>", "<unset>"
#: So many endpoints are shown before "+ 2 more...".
SHOWN = 3


def age(since: str | None, now: datetime) -> str:
    """``5s``, ``3m10s``, ``2h``, ``4d``: as kubectl shortens the time that has passed."""
    return duration((now - datetime.fromisoformat(since)).total_seconds()) if since else "<unknown>"


def duration(passed: float) -> str:
    """Of seconds."""
    seconds = max(0, int(passed))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    for limit, large, small in (
        (seconds < 120, f"{seconds}s", ""),
        (minutes < 10, f"{minutes}m", f"{seconds % 60}s"),
        (minutes < 180, f"{minutes}m", ""),
        (hours < 8, f"{hours}h", f"{minutes % 60}m"),
        (hours < 48, f"{hours}h", ""),
        (days < 8, f"{days}d", f"{hours % 24}h"),
        (days < 730, f"{days}d", ""),
        (days < 2920, f"{days // 365}y", f"{days % 365}d"),
    ):
        if limit:
            return large if not small or small[:-1] == "0" else f"{large}{small}"
    return f"{days // 365}y"


def born(it: Object, now: datetime) -> str:
    """The AGE column."""
    return age(it["metadata"].get("creationTimestamp"), now)


def pairs(labels: dict[str, str] | None) -> str:
    """``a=b,c=d``."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector(selector: dict[str, Any] | None) -> str:
    """A label selector in one line."""
    words = {"In": "in", "NotIn": "notin"}
    parts = [f"{key}={value}" for key, value in sorted(((selector or {}).get("matchLabels") or {}).items())]
    for it in (selector or {}).get("matchExpressions") or ():
        match it["operator"]:
            case "Exists":
                parts.append(it["key"])
            case "DoesNotExist":
                parts.append(f"!{it['key']}")
            case _:
                parts.append(f"{it['key']} {words[it['operator']]} ({','.join(it.get('values') or ())})")
    return ",".join(parts) or NONE


def join(words: Iterable[Any]) -> str:
    """``a,b``."""
    return ",".join(str(it) for it in words) or NONE


def some(found: list[str], empty: str) -> str:
    """The first few of many."""
    more = f" + {len(found) - SHOWN} more..." if len(found) > SHOWN else ""
    return (",".join(found[:SHOWN]) + more) or empty
