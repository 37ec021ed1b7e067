"""Who asks, and may they? The API server's view of authentication and authorization; ``skiff.auth`` answers."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from aiohttp import web

from skiff.api import Object
from skiff.apiserver import selectors
from skiff.errors import ApiError
from skiff.kinds import Kind
from skiff.queries import truth

#: Asked before an apply makes something new, for which ``patch`` is not enough: raises a 403.
MAY_CREATE = web.RequestKey("may_create", partial[None])


class User(Protocol):
    """Who asks."""

    @property
    def name(self) -> str: ...
    @property
    def groups(self) -> tuple[str, ...]: ...
    @property
    def uid(self) -> str: ...


class Access(Protocol):
    """Implemented by ``skiff.auth.access.ClusterAccess``."""

    def who(self, request: web.Request) -> User: ...
    def allowed(
        self, user: User, verb: str, kind: Kind | None, namespace: str, name: str, subresource: str, path: str
    ) -> tuple[bool, str]: ...
    def review(self, kind: Kind, body: Object, user: User) -> Object: ...
    def token(self, service_account: Object, body: Object) -> Object: ...


#: Subresources by which a client acts inside a pod.
STREAMED = frozenset({"exec", "attach", "portforward"})
_METHODS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def verb_of(request: web.Request, name: str) -> str:
    """Kubernetes' verb of a request."""
    if request.method in ("GET", "HEAD"):
        return "get" if name else "watch" if truth(request, "watch") else "list"
    verb = _METHODS.get(request.method, request.method.lower())
    return "deletecollection" if verb == "delete" and not name else verb


def verbs_of(request: web.Request, name: str, sub: str) -> tuple[str, ...]:
    """All verbs that a request needs. Whoever runs a command does more than read, whatever the method of its upgrade is:
    a websocket begins with GET (Kubernetes' ``AuthorizePodWebsocketUpgradeCreatePermission``)."""
    verb = verb_of(request, name)
    return (verb,) if sub not in STREAMED or verb == "create" else (verb, "create")


def name_of(request: web.Request, name: str) -> str:
    """Whom a request means: who lists by the field ``metadata.name`` asks for that one only, as in Kubernetes."""
    return name or selectors.exact_name(request.query.get("fieldSelector", ""))


def require(
    access: Access, user: User, verb: str, kind: Kind | None, namespace: str, name: str, sub: str, path: str
) -> None:
    """403 in the words of the real API server."""
    granted, reason = access.allowed(user, verb, kind, namespace, name, sub, path)
    if granted:
        return
    why = f": {reason}" if reason else ""
    if kind is None:
        raise ApiError(403, "Forbidden", f'forbidden: User "{user.name}" cannot {verb} path "{path}"{why}')
    resource = f"{kind.plural}/{sub}" if sub else kind.plural
    where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
    raise ApiError(
        403, "Forbidden",
        f'{kind.resource}{f" {chr(34)}{name}{chr(34)}" if name else ""} is forbidden: User "{user.name}" cannot {verb} '
        f'resource "{resource}" in API group "{kind.group}"{where}{why}',
        {"name": name, "group": kind.group, "kind": kind.plural},
    )  # fmt: skip
