"""May somebody act as somebody else? Each name, group and word about them must be allowed by ``impersonate``.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from multidict import CIMultiDictProxy

from skiff.auth.authenticate import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User
from skiff.auth.authorize import Authorizer
from skiff.errors import ApiError

_PREFIX, _EXTRA = "impersonate-", "impersonate-extra-"
_KNOWN = {"impersonate-user", "impersonate-group", "impersonate-uid"}
_ACCOUNT = re.compile(r"system:serviceaccount:([^:]+):([^:]+)")
_API = "authentication.k8s.io"
#: Every name is looked up in all roles: nobody real is in more groups than this.
_MOST = 256


def acting(headers: CIMultiDictProxy[str], user: User, authorizer: Authorizer) -> User:
    """Whom the headers name instead of ``user``; 403 when they may not, 400 when the headers say it badly."""
    given = [key for key in headers if key.lower().startswith(_PREFIX)]
    if not given:
        return user
    name = headers.get("Impersonate-User", "")
    if not name:
        raise ApiError(400, "BadRequest", f"requested {', '.join(given)} without impersonating a user")
    if len(given) > _MOST:
        raise ApiError(400, "BadRequest", f"at most {_MOST} headers may say who is impersonated")
    if strange := [it for it in given if it.lower() not in _KNOWN and not it.lower().startswith(_EXTRA)]:
        raise ApiError(400, "BadRequest", f"unknown impersonation header {strange[0]}")
    groups, uid = headers.getall("Impersonate-Group", []), headers.get("Impersonate-Uid", "")
    extra = _extra(headers)
    for resource, subresource, namespace, wanted in _wishes(name, groups, uid, extra):
        _require(authorizer, user, resource, subresource, namespace, wanted)
    return User(name, (*groups, *_usual(name, groups)), uid, extra)


def _extra(headers: CIMultiDictProxy[str]) -> dict[str, tuple[str, ...]]:
    made: dict[str, tuple[str, ...]] = {}
    for key, value in headers.items():
        if key.lower().startswith(_EXTRA):
            word = unquote(key[len(_EXTRA) :].lower())
            made[word] = (*made.get(word, ()), value)
    return made


def _wishes(
    name: str, groups: list[str], uid: str, extra: dict[str, tuple[str, ...]]
) -> Iterator[tuple[str, str, str, str]]:
    """(resource, subresource, namespace, name) of all that must be allowed."""
    if account := _ACCOUNT.fullmatch(name):
        yield "serviceaccounts", "", account[1], account[2]
    else:
        yield "users", "", "", name
    for it in groups:
        yield "groups", "", "", it
    if uid:
        yield "uids", "", "", uid
    for word, values in extra.items():
        for it in values:
            yield "userextras", word, "", it


def _require(
    authorizer: Authorizer, user: User, resource: str, subresource: str, namespace: str, name: str
) -> None:
    group = _API if resource in ("uids", "userextras") else ""
    granted, _ = authorizer.allowed(
        user, "impersonate", group=group, resource=resource, subresource=subresource, namespace=namespace, name=name
    )  # fmt: skip
    if not granted:
        full = f"{resource}/{subresource}" if subresource else resource
        where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
        said = f'{full} "{name}" is forbidden: User "{user.name}" cannot impersonate resource "{full}"'
        raise ApiError(403, "Forbidden", f'{said} in API group "{group}"{where}')


def _usual(name: str, groups: list[str]) -> tuple[str, ...]:
    """The groups of who is named without any, and that which says whether they are known."""
    if name == ANONYMOUS.name:
        return () if UNAUTHENTICATED in groups else (UNAUTHENTICATED,)
    account = None if groups else _ACCOUNT.fullmatch(name)
    own = ("system:serviceaccounts", f"system:serviceaccounts:{account[1]}") if account else ()
    return own if {AUTHENTICATED, UNAUTHENTICATED} & set(groups) else (*own, AUTHENTICATED)
