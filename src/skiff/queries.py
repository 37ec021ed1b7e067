"""What does a query string say? Booleans as Go reads them."""

from __future__ import annotations

from aiohttp import web


def truth(request: web.Request, name: str) -> bool:
    """Whether a parameter is there and true."""
    return request.query.get(name, "").lower() in ("1", "t", "true")
