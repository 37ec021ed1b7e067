"""Who is this, and may they? The questions that clients put to the API server, and requests for tokens."""

from __future__ import annotations

from typing import Any

from skiff.api import Object
from skiff.auth.authenticate import User
from skiff.auth.authorize import Authorizer
from skiff.auth.tokens import Tokens
from skiff.errors import ApiError, invalid, not_found
from skiff.kinds import (
    LOCAL_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_REVIEWS,
    SELF_SUBJECT_RULES_REVIEWS,
    SUBJECT_ACCESS_REVIEWS,
    TOKEN_REVIEWS,
    Kind,
)  # fmt: skip

_SHORTEST_S, _LONGEST_S = 600, 1 << 32


def answer(kind: Kind, body: Object, user: User, tokens: Tokens, authorizer: Authorizer) -> Object:
    """The review with its status."""
    spec: dict[str, Any] = body.get("spec") or {}
    if kind is TOKEN_REVIEWS:
        status = _token_status(spec, tokens)
    elif kind is SELF_SUBJECT_REVIEWS:
        status = {"userInfo": _info(user)}
    elif kind in (SUBJECT_ACCESS_REVIEWS, LOCAL_SUBJECT_ACCESS_REVIEWS):
        about = User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""))
        status = _access(spec, about, authorizer)
    elif kind is SELF_SUBJECT_ACCESS_REVIEWS:
        status = _access(spec, user, authorizer)
    elif kind is SELF_SUBJECT_RULES_REVIEWS:
        status = _rules(authorizer.rules(user, spec.get("namespace", "")))
    else:
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    metadata = {**(body.get("metadata") or {}), "creationTimestamp": None}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


def _info(user: User) -> dict[str, Any]:
    found: dict[str, Any] = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        found["uid"] = user.uid
    if user.extra:
        found["extra"] = {key: list(values) for key, values in user.extra.items()}
    return found


def _token_status(spec: dict[str, Any], tokens: Tokens) -> dict[str, Any]:
    audiences = spec.get("audiences") or []
    try:
        user, accepted = tokens.reviewed(spec.get("token", ""), audiences)
    except ApiError as refused:
        return {"authenticated": False, "error": refused.message}
    return {"authenticated": True, "user": _info(user), "audiences": accepted}


def _access(spec: dict[str, Any], user: User, authorizer: Authorizer) -> dict[str, Any]:
    if about := spec.get("resourceAttributes"):
        granted, reason = authorizer.allowed(
            user, about.get("verb", ""), group=about.get("group", ""), resource=about.get("resource", ""),
            subresource=about.get("subresource", ""), namespace=about.get("namespace", ""), name=about.get("name", ""),
        )  # fmt: skip
    elif path := spec.get("nonResourceAttributes"):
        granted, reason = authorizer.allowed(
            user, path.get("verb", ""), group="", resource="", path=path.get("path", "")
        )
    else:
        cause = (
            "FieldValueInvalid",
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            "spec",
        )
        raise invalid("SubjectAccessReview", "authorization.k8s.io", "", [cause])
    return {"allowed": granted, **({"reason": reason} if reason else {})}


def _rules(rules: list[dict[str, Any]]) -> dict[str, Any]:
    about = [it for it in rules if it.get("resources")]
    paths = [it for it in rules if it.get("nonResourceURLs")]
    return {"resourceRules": about, "nonResourceRules": paths, "incomplete": False}


def token_request(service_account: Object, body: Object, tokens: Tokens) -> Object:
    """TokenRequest (authentication.k8s.io/v1) with its token."""
    spec: dict[str, Any] = dict(body.get("spec") or {})
    metadata = service_account["metadata"]
    wanted = spec.get("expirationSeconds") or 3600
    if not _SHORTEST_S <= wanted <= _LONGEST_S:
        said = f"Invalid value: {wanted}: may not specify a duration less than 10 minutes"
        raise invalid(
            "TokenRequest",
            "authentication.k8s.io",
            "",
            [("FieldValueInvalid", said, "spec.expirationSeconds")],
        )
    bound = spec.get("boundObjectRef") or {}
    if bound.get("kind", "Pod") != "Pod":  # never a token that outlives what it is said to be bound to
        said = f"Invalid value: {str(bound.get('kind'))[:100]!r}: tokens are bound to nothing but Pods here"
        cause = ("FieldValueInvalid", said, "spec.boundObjectRef.kind")
        raise invalid("TokenRequest", "authentication.k8s.io", "", [cause])
    pod = (bound.get("name", ""), bound.get("uid", "")) if bound.get("kind") == "Pod" else None
    if pod and not tokens.exists("Pod", metadata["namespace"], *pod):
        raise not_found("pods", "", pod[0])
    token, end = tokens.issue(
        metadata["namespace"], metadata["name"], audiences=spec.get("audiences") or (), expires_s=wanted, pod=pod,
        sa_uid=metadata.get("uid", ""),
    )  # fmt: skip
    spec["expirationSeconds"] = wanted
    return {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]}, "spec": spec,
        "status": {"token": token, "expirationTimestamp": end.strftime("%Y-%m-%dT%H:%M:%SZ")},
    }  # fmt: skip
