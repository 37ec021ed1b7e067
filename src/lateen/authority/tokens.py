"""Who holds this token? Kubernetes is asked; an answer is remembered for a moment."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from typing import Any, NamedTuple

from lateen.kube.client import KubeClient

AUDIENCE = "istio-ca"
_REMEMBERED_S, _MOST = 60.0, 4096
_ACCOUNT = "system:serviceaccount:"


class Caller(NamedTuple):
    """A service account, in a pod if its token is bound to one."""

    namespace: str
    service_account: str
    pod: str = ""


class NotAuthenticatedError(Exception):
    """The token proves nothing; the message is the API server's."""


class Reviewer:
    """TokenReview with a bounded memory."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()

    async def review(self, token: str) -> Caller:
        """Whose token it is. NotAuthenticatedError when it is nobody's; KubeError when Kubernetes cannot be asked."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known and known[1] > time.monotonic():
            return known[0]
        asked = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }  # fmt: skip
        status: dict[str, Any] = (await self._client.create(asked)).get("status") or {}
        user = status.get("user") or {}
        name = str(user.get("username", ""))
        if not status.get("authenticated") or not name.startswith(_ACCOUNT):
            raise NotAuthenticatedError(
                str(status.get("error") or "the token is not one of a service account")
            )
        namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
        pods = (user.get("extra") or {}).get("authentication.kubernetes.io/pod-name") or [""]
        caller = Caller(namespace, account, pods[0])
        self._known[digest] = (caller, time.monotonic() + _REMEMBERED_S)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return caller
