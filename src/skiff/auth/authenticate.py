"""Who asks? A client certificate, a bearer token, or nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from skiff.auth.tokens import Tokens

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a name and groups."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))


def authenticate(request: web.Request, tokens: Tokens) -> User:
    """The user of a request; 401 when a token is given and is not good."""
    return _of_certificate(request) or _of_token(request, tokens) or ANONYMOUS


def _of_certificate(request: web.Request) -> User | None:
    transport = request.transport
    certificate: dict[str, Any] | None = transport.get_extra_info("peercert") if transport else None
    return _of_subject(certificate.get("subject", ())) if certificate else None


@lru_cache(maxsize=256)
def _of_subject(subject: tuple[tuple[tuple[str, str], ...], ...]) -> User | None:
    pairs = [pair for part in subject for pair in part]
    name = next((value for key, value in pairs if key == "commonName"), "")
    groups = tuple(value for key, value in pairs if key == "organizationName")
    return User(name, (*groups, AUTHENTICATED)) if name else None


def _of_token(request: web.Request, tokens: Tokens) -> User | None:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return tokens.review(token.strip()) if kind.lower() == "bearer" and token.strip() else None
