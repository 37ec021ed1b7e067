"""Who holds this token? Kubernetes is asked; an answer is remembered for a moment."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lateen.api import reading
from lateen.kube.client import KubeClient

AUDIENCE = "istio-ca"
#: Long enough for a proxy that asks again because an answer was lost.
_REMEMBERED_S, _MOST, _AT_ONCE = 10.0, 4096, 16
#: An API server that says nothing for so long will not.
_PATIENCE_S = 10.0
_ACCOUNT = "system:serviceaccount:"


class Caller(NamedTuple):
    """A service account, in a pod if its token is bound to one."""

    namespace: str
    service_account: str
    pod: str = ""


class NotAuthenticatedError(Exception):
    """The token proves nothing; the message is the API server's."""


class Reviewer:
    """TokenReview with a bounded memory, and a bound on what it asks at once."""

    def __init__(self, client: KubeClient, lives: Callable[[Caller], bool] = lambda _: True) -> None:
        self._client = client
        self._lives = lives  # whether a caller's pod is still known: else Kubernetes is asked again
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def review(self, token: str) -> Caller:
        """Whose token it is. NotAuthenticatedError when it is nobody's; KubeError or TimeoutError when
        Kubernetes cannot be asked."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known and known[1] > time.monotonic() and self._lives(known[0]):
            return known[0]
        asked = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }  # fmt: skip
        async with asyncio.timeout(_PATIENCE_S), self._turns:
            answer = await self._client.create(asked)
        caller = of_status(reading.part(answer, "status"))
        self._known[digest] = (caller, time.monotonic() + _REMEMBERED_S)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return caller


def of_status(status: Mapping[str, Any]) -> Caller:
    """Who a TokenReview's status names; NotAuthenticatedError when it names nobody of ours.

    A server that knows nothing of audiences leaves them out of its answer, and has not looked at the token's:
    whoever asks must refuse then (TokenReviewStatus in the Kubernetes API).
    """
    if not status.get("authenticated"):
        raise NotAuthenticatedError(str(status.get("error") or "the token is not valid"))
    if AUDIENCE not in (status.get("audiences") or ()):
        raise NotAuthenticatedError(f'the token is not for the audience "{AUDIENCE}"')
    kind, _, rest = reading.text(status, "user", "username").partition(_ACCOUNT)
    namespace, _, account = rest.partition(":")
    if kind or not namespace or not account:
        raise NotAuthenticatedError("the token is not one of a service account")
    pods = reading.part(status, "user", "extra").get("authentication.kubernetes.io/pod-name") or [""]
    return Caller(namespace, account, str(pods[0]))
