"""What does a query string say? Booleans as Go reads them."""

from __future__ import annotations

from aiohttp import web

from skiff.errors import ApiError

_MOST_DIGITS = 18


def truth(request: web.Request, name: str) -> bool:
    """Whether a parameter is there and true."""
    return request.query.get(name, "").lower() in ("1", "t", "true")


def number(request: web.Request, name: str) -> int | None:
    """A parameter that is a number and not negative; None when it is not there, 400 for anything else."""
    given = request.query.get(name, "")
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS):
        raise ApiError(
            400, "BadRequest", f"{name} must be a number that is not negative, not {given[:100]!r}"
        )
    return int(given)
