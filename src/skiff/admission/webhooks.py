"""Whom must the API server ask before it stores an object? Admission webhooks over HTTPS.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import aiohttp
import msgspec

from skiff.api import Object
from skiff.apiserver import context
from skiff.errors import ApiError
from skiff.kinds import MUTATING_WEBHOOKS, NAMESPACES, VALIDATING_WEBHOOKS, Kind
from skiff.objects import matches
from skiff.patch import json_patch

#: (namespace, service, port) -> an address that can be dialled.
Dial = Callable[[str, str, int], Awaitable[tuple[str, int]]]
_NEVER = frozenset({MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS})


class _CallError(Exception):
    """A webhook could not be asked, or did not answer sensibly."""


class Webhooks:
    """``skiff.apiserver.registry.Admission``, by what the configurations say."""

    def __init__(
        self,
        configurations: Callable[[Kind], Iterable[Object]],
        namespace_labels: Callable[[str], dict[str, str]],
        dial: Dial,
    ) -> None:
        self._configurations, self._labels, self._dial = configurations, namespace_labels, dial
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def close(self) -> None:
        """End all connections."""
        if self._session:
            await self._session.close()

    async def mutate(
        self, kind: Kind, operation: str, subresource: str, obj: Object, old: Object | None
    ) -> Object:
        """Ask one after the other; those that wish it once more when a later one changed the object."""
        hooks = list(self._asked(MUTATING_WEBHOOKS, kind, operation, subresource, obj, old))
        changed_after: set[str] = set()
        for index, hook in enumerate(hooks):
            made = await self._mutated(hook, kind, operation, subresource, obj, old)
            if made != obj:
                changed_after |= {it["name"] for it in hooks[:index]}
            obj = made
        for hook in hooks:
            if hook.get("reinvocationPolicy") == "IfNeeded" and hook["name"] in changed_after:
                obj = await self._mutated(hook, kind, operation, subresource, obj, old)
        return obj

    async def validate(
        self, kind: Kind, operation: str, subresource: str, obj: Object | None, old: Object | None
    ) -> None:
        """Ask all at once; the first refusal counts."""
        hooks = list(self._asked(VALIDATING_WEBHOOKS, kind, operation, subresource, obj, old))
        if not hooks:
            return
        asked = (self._ask(hook, kind, operation, subresource, obj, old) for hook in hooks)
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    async def _mutated(
        self, hook: Object, kind: Kind, operation: str, subresource: str, obj: Object, old: Object | None
    ) -> Object:
        answer = await self._ask(hook, kind, operation, subresource, obj, old)
        if not answer or not answer.get("patch"):
            return obj
        try:
            operations = msgspec.json.decode(base64.b64decode(answer["patch"]))
            made: Object = json_patch(obj, operations)
        except (ValueError, msgspec.DecodeError, ApiError) as wrong:
            raise ApiError(
                500, "InternalError", f'Internal error occurred: webhook "{hook["name"]}": {wrong}'
            ) from wrong
        return made

    def _asked(
        self,
        configuration: Kind,
        kind: Kind,
        operation: str,
        subresource: str,
        obj: Object | None,
        old: Object | None,
    ) -> Iterator[Object]:
        if kind in _NEVER:
            return
        found = sorted(self._configurations(configuration), key=lambda it: str(it["metadata"]["name"]))
        for hook in (hook for it in found for hook in it.get("webhooks") or ()):
            if any(
                covers(rule, kind, operation, subresource, hook) for rule in hook.get("rules") or ()
            ) and self._selects(hook, kind, obj, old):
                yield hook

    def _selects(self, hook: Object, kind: Kind, obj: Object | None, old: Object | None) -> bool:
        metadata: dict[str, Any] = (obj or old or {}).get("metadata") or {}
        if kind is NAMESPACES:
            labels = metadata.get("labels") or {}
        elif kind.namespaced:
            labels = self._labels(metadata.get("namespace", ""))
        else:
            labels = None
        if labels is not None and not matches(hook.get("namespaceSelector") or {}, labels):
            return False
        selector = hook.get("objectSelector") or {}
        return any(it is not None and matches(selector, it["metadata"].get("labels")) for it in (obj, old))

    async def _ask(
        self,
        hook: Object,
        kind: Kind,
        operation: str,
        subresource: str,
        obj: Object | None,
        old: Object | None,
    ) -> dict[str, Any] | None:
        """The response of one webhook; None when it failed and its policy is to go on."""
        if context.DRY_RUN.get() and hook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            said = f'admission webhook "{hook["name"]}" does not support dry run'
            raise ApiError(400, "BadRequest", said)
        review = review_of(kind, operation, subresource, obj, old)
        try:
            if not await self._wanted(hook, review):
                return None
            response = await self._called(hook, review)
        except _CallError as wrong:
            if hook.get("failurePolicy", "Fail") == "Ignore":
                return None
            said = f'Internal error occurred: failed calling webhook "{hook["name"]}": failed to call webhook: {wrong}'
            raise ApiError(500, "InternalError", said) from wrong
        context.warn(*map(str, response.get("warnings") or ()))
        if response.get("allowed"):
            return response
        status = response.get("status") or {}
        message = status.get("message") or status.get("reason") or "without explanation"
        code = int(status.get("code") or 403)
        said = f'admission webhook "{hook["name"]}" denied the request: {message}'
        raise ApiError(
            code if code >= 400 else 403, status.get("reason") or "Forbidden", said, status.get("details")
        )

    async def _wanted(self, hook: Object, review: Object) -> bool:
        """Whether its conditions hold."""
        if not hook.get("matchConditions"):
            return True
        from skiff.admission.cel.conditions import hold  # only for hooks that have some

        try:
            return await hold(hook["matchConditions"], review["request"])
        except ValueError as wrong:
            raise _CallError(str(wrong)) from wrong

    async def _called(self, hook: Object, review: Object) -> dict[str, Any]:
        config, seconds = hook.get("clientConfig") or {}, hook.get("timeoutSeconds") or 10
        try:
            async with asyncio.timeout(seconds):
                url, name = await self._address(config)
                if self._session is None:
                    self._session = aiohttp.ClientSession(
                        connector=aiohttp.TCPConnector(limit=50, force_close=True)
                    )
                async with self._session.post(
                    url, data=msgspec.json.encode(review), ssl=self._tls(config.get("caBundle", "")), server_hostname=name,
                    headers={"Content-Type": "application/json", "Host": name} if name else {"Content-Type": "application/json"},
                ) as answer:  # fmt: skip
                    raw = await answer.read()
                    if answer.status != 200:
                        raise _CallError(
                            f"the webhook answered {answer.status}: {raw[:300].decode(errors='replace')}"
                        )
            response: dict[str, Any] = msgspec.json.decode(raw)["response"]
        except TimeoutError as late:
            raise _CallError(f"no answer within {seconds} s") from late
        except (
            aiohttp.ClientError,
            OSError,
            ssl.SSLError,
            msgspec.DecodeError,
            KeyError,
            TypeError,
        ) as wrong:
            raise _CallError(str(wrong) or type(wrong).__name__) from wrong
        if not isinstance(response, dict) or response.get("uid") != review["request"]["uid"]:
            raise _CallError("the answer is for another question")
        return response

    async def _address(self, config: Object) -> tuple[str, str | None]:
        service = config.get("service")
        if not service:
            return str(config.get("url", "")), None
        namespace, name, port = (
            service.get("namespace", ""),
            service.get("name", ""),
            service.get("port") or 443,
        )
        try:
            host, number = await self._dial(namespace, name, port)
        except Exception as wrong:
            raise _CallError(
                f'Post "https://{name}.{namespace}.svc:{port}{service.get("path", "")}": {wrong}'
            ) from wrong
        return f"https://{host}:{number}{service.get('path') or '/'}", f"{name}.{namespace}.svc"

    def _tls(self, bundle: str) -> ssl.SSLContext:
        if bundle not in self._contexts:
            try:
                given = base64.b64decode(bundle).decode()
                self._contexts[bundle] = ssl.create_default_context(cadata=given or None)
            except (ValueError, ssl.SSLError) as wrong:
                raise _CallError(f"caBundle holds no certificates: {wrong}") from wrong
        return self._contexts[bundle]


def covers(rule: Object, kind: Kind, operation: str, subresource: str, hook: Object) -> bool:
    """Whether a rule is about such a request; ``hook`` says how versions are compared."""
    resource = f"{kind.plural}/{subresource}" if subresource else kind.plural
    wanted = rule.get("resources") or ()
    fits = resource in wanted or "*/*" in wanted or (not subresource and "*" in wanted)
    fits = fits or (bool(subresource) and (f"{kind.plural}/*" in wanted or f"*/{subresource}" in wanted))
    versions = rule.get("apiVersions") or ()
    scope = rule.get("scope") or "*"
    return (
        fits
        and _among(operation, rule.get("operations") or ())
        and _among(kind.group, rule.get("apiGroups") or ())
        # Equivalent: a rule for any version of the resource covers all of them.
        and (_among(kind.version, versions) or hook.get("matchPolicy", "Equivalent") == "Equivalent")
        and (scope == "*" or (scope == "Namespaced") == kind.namespaced)
    )


def _among(word: str, listed: Iterable[str]) -> bool:
    return word in listed or "*" in listed


def review_of(kind: Kind, operation: str, subresource: str, obj: Object | None, old: Object | None) -> Object:
    """What a webhook is asked."""
    metadata: dict[str, Any] = (obj or old or {}).get("metadata") or {}
    user = context.USER.get()
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    gvr = {"group": kind.group, "version": kind.version, "resource": kind.plural}
    about = {
        "username": user.name if user else "system:skiff", "groups": list(user.groups) if user else [MASTERS],
        **({"uid": user.uid} if user and user.uid else {}),
    }  # fmt: skip
    return {
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": str(uuid.uuid4()), "kind": gvk, "resource": gvr, "requestKind": gvk, "requestResource": gvr,
            "name": metadata.get("name", ""), "namespace": metadata.get("namespace", ""), "operation": operation,
            "userInfo": about, "object": obj, "oldObject": old, "dryRun": context.DRY_RUN.get(),
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": f"{operation.capitalize()}Options"},
            **({"subResource": subresource} if subresource else {}),
        },
    }  # fmt: skip


MASTERS = "system:masters"
