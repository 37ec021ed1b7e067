"""Who asks, and may they? ``skiff.apiserver.access.Access`` made of tokens, certificates and RBAC."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from skiff.api import Object
from skiff.auth import reviews
from skiff.auth.authenticate import User, authenticate
from skiff.auth.authorize import Authorizer
from skiff.auth.impersonate import acting
from skiff.auth.tokens import Tokens
from skiff.kinds import Kind


class ClusterAccess:
    """See ``skiff.apiserver.access.Access``."""

    def __init__(self, tokens: Tokens, authorizer: Authorizer) -> None:
        self.tokens, self.authorizer = tokens, authorizer

    def who(self, request: web.Request) -> User:
        """From the client certificate, the bearer token, or nobody; then whom they act as."""
        return acting(request.headers, authenticate(request, self.tokens), self.authorizer)

    def allowed(
        self, user: Any, verb: str, kind: Kind | None, namespace: str, name: str, subresource: str, path: str
    ) -> tuple[bool, str]:
        """By RBAC."""
        if kind is None:
            return self.authorizer.allowed(user, verb, group="", resource="", path=path)
        return self.authorizer.allowed(
            user, verb, group=kind.group, resource=kind.plural, subresource=subresource, namespace=namespace, name=name
        )  # fmt: skip

    def review(self, kind: Kind, body: Object, user: Any) -> Object:
        """Questions about who and whether."""
        return reviews.answer(kind, body, user, self.tokens, self.authorizer)

    def token(self, service_account: Object, body: Object) -> Object:
        """TokenRequest."""
        return reviews.token_request(service_account, body, self.tokens)
