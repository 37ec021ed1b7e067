"""Where does a request go that is passed on, and what is said when nobody is there?"""

from __future__ import annotations

import os
from typing import NamedTuple

import aiohttp

from skiff.errors import ApiError


class Target(NamedTuple):
    """Where a request goes."""

    scheme: str
    host: str
    port: int
    path: str  # as it was sent, not decoded
    prefix: str  # the path on this server that stands for the target's root


def unreachable(target: Target, wrong: Exception) -> ApiError:
    """503 in the words of the real API server."""
    why = wrong.os_error if isinstance(wrong, aiohttp.ClientConnectorError) else wrong
    said = (
        os.strerror(why.errno).lower() if isinstance(why, OSError) and why.errno else str(why) or "timed out"
    )
    return ApiError(
        503, "ServiceUnavailable", f"error trying to reach service: dial tcp {target.host}:{target.port}: connect: {said}"
    )  # fmt: skip
