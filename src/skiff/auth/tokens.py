"""What proves that somebody is a service account? Signed tokens (JWT, ES256), bound to pods that may end.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
"""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from skiff.auth.authenticate import AUTHENTICATED, User
from skiff.auth.pki import ClusterPki
from skiff.errors import ApiError

ISSUER = "https://kubernetes.default.svc.cluster.local"
#: Audiences of the API server itself.
OWN_AUDIENCES = (ISSUER, "api")
#: Tokens whose signature was found to be ours: looking takes 0.1 ms, and pods ask often. Longer ones are looked at anew.
_MOST_GOOD, _LONGEST_GOOD = 500, 4096

#: (kind, namespace, name, uid) -> whether that object still exists.
StillExists = Callable[[str, str, str, str], bool]


class Tokens:
    """Issues and reviews."""

    def __init__(
        self,
        pki: ClusterPki,
        *,
        still_exists: StillExists | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key, self._exists, self._clock = pki.service_account_key, still_exists, clock
        public = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._key_id = _encoded(hashlib.sha256(public).digest())
        self._good: dict[str, dict[str, Any]] = {}  # the claims of tokens

    def issue(
        self, namespace: str, service_account: str, *, audiences: Sequence[str] = (), expires_s: int = 3600,
        pod: tuple[str, str] | None = None, sa_uid: str = "",
    ) -> tuple[str, datetime]:  # fmt: skip
        """(token, its end). ``pod`` is (name, uid): the token ends with it."""
        now = int(self._clock())
        about: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": service_account, "uid": sa_uid},
        }
        if pod:
            about["pod"] = {"name": pod[0], "uid": pod[1]}
        claims = {
            "iss": ISSUER, "sub": f"system:serviceaccount:{namespace}:{service_account}",
            "aud": list(audiences) or [ISSUER], "exp": now + expires_s, "iat": now, "nbf": now, "jti": str(uuid.uuid4()),
            "kubernetes.io": about,
        }  # fmt: skip
        header = {"alg": "ES256", "kid": self._key_id, "typ": "JWT"}
        text = f"{_encoded(msgspec.json.encode(header))}.{_encoded(msgspec.json.encode(claims))}"
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        signature = _encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return f"{text}.{signature}", datetime.fromtimestamp(now + expires_s, UTC)

    def review(self, token: str, audiences: Sequence[str] = ()) -> User:
        """Whose token it is; 401 with the reason when it is nobody's."""
        return self.reviewed(token, audiences)[0]

    def exists(self, kind: str, namespace: str, name: str, uid: str) -> bool:
        """Whether what a token is to be bound to is there."""
        return self._exists is None or self._exists(kind, namespace, name, uid)

    def reviewed(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, list[str]]:
        """(whose token it is, for which of the wanted audiences)."""
        claims = self._good.get(token)
        if claims is None:
            claims = self._claims(token)
            if len(self._good) >= _MOST_GOOD:
                self._good.clear()
            if len(token) <= _LONGEST_GOOD:
                self._good[token] = claims
        meant = set(claims.get("aud") or ())
        accepted = [it for it in audiences or OWN_AUDIENCES if it in meant]
        if not accepted:
            raise _refused(f"the token is for {str(claims.get('aud'))[:500]}")
        if (
            claims.get("iss") != ISSUER
            or not isinstance(claims.get("exp"), int)
            or claims["exp"] <= self._clock()
        ):
            raise _refused("the token has expired or is of another cluster")
        about = claims.get("kubernetes.io") or {}
        namespace, account = about.get("namespace", ""), about.get("serviceaccount") or {}
        self._require("ServiceAccount", namespace, account)
        extra: dict[str, tuple[str, ...]] = {}
        if pod := about.get("pod"):
            self._require("Pod", namespace, pod)
            extra = {
                "authentication.kubernetes.io/pod-name": (pod["name"],), "authentication.kubernetes.io/pod-uid": (pod["uid"],),
            }  # fmt: skip
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
        return User(claims["sub"], groups, account.get("uid", ""), extra), accepted

    def _require(self, kind: str, namespace: str, it: dict[str, str]) -> None:
        if self._exists and not self._exists(kind, namespace, it.get("name", ""), it.get("uid", "")):
            raise _refused(f"{kind} {namespace}/{it.get('name')} does not exist any more")

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            text, _, signature = token.rpartition(".")
            header, _, claims = text.partition(".")
            if msgspec.json.decode(_decoded(header)).get("alg") != "ES256":
                raise _refused("the token is not signed as ours are")
            raw = _decoded(signature)
            r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
            self._key.public_key().verify(
                encode_dss_signature(r, s), text.encode(), ec.ECDSA(hashes.SHA256())
            )
            found: dict[str, Any] = msgspec.json.decode(_decoded(claims), type=dict[str, Any])
        except (ValueError, InvalidSignature, AttributeError) as wrong:
            raise _refused("the token is not one of this cluster") from wrong
        return found


def _refused(why: str) -> ApiError:
    return ApiError(401, "Unauthorized", f"Unauthorized: {why}")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
