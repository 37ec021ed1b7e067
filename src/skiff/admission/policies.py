"""What have ValidatingAdmissionPolicies against a request, and what do their bindings do about it?

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skiff.admission.cel import aside, policy
from skiff.admission.cel.policy import Finding
from skiff.admission.cel.program import CelError
from skiff.admission.request import Request, Stored, forbidden
from skiff.admission.webhooks import covers, review_of
from skiff.api import Object
from skiff.apiserver import context
from skiff.errors import ApiError
from skiff.kinds import (
    MUTATING_WEBHOOKS,
    NAMESPACES,
    VALIDATING_POLICIES,
    VALIDATING_POLICY_BINDINGS,
    VALIDATING_WEBHOOKS,
    Kind,
)  # fmt: skip
from skiff.log import Log
from skiff.objects import matches

#: What no policy is about: nobody shall lock himself out.
_NEVER = frozenset({MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, VALIDATING_POLICIES, VALIDATING_POLICY_BINDINGS})
_CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}

_log = Log()


class Policies:
    """Everything that policies and bindings say."""

    def __init__(self, stored: Stored, kinds: Mapping[tuple[str, str, str], Kind]) -> None:
        self._stored, self._kinds = stored, kinds

    def validate(self, request: Request) -> Any:
        """An awaitable when some binding may be about it."""
        if request.kind in _NEVER:
            return None
        bindings = self._stored.all(VALIDATING_POLICY_BINDINGS)
        return self._asked(request, bindings) if bindings else None

    async def _asked(self, request: Request, bindings: list[Object]) -> None:
        matching: dict[str, Object | None] = {}
        for binding in bindings:
            spec = binding["spec"]
            name = spec.get("policyName", "")
            if name not in matching:
                found = self._stored.get(VALIDATING_POLICIES, "", name)
                about = found and self._matches(found["spec"].get("matchConstraints") or {}, request)
                matching[name] = found if about else None
            held = matching[name]
            if held and self._matches(spec.get("matchResources") or {}, request):
                await self._bound(request, held, binding)

    # --- which ones ------------------------------------------------------------------------------

    def _matches(self, wanted: Object, request: Request) -> bool:
        rules, never = wanted.get("resourceRules"), wanted.get("excludeResourceRules") or ()
        if any(_about(it, request, wanted) for it in never):
            return False
        if rules and not any(_about(it, request, wanted) for it in rules):
            return False
        namespace = self._labels(request)
        if namespace is not None and not matches(wanted.get("namespaceSelector") or {}, namespace):
            return False
        selector = wanted.get("objectSelector") or {}
        return any(
            it is not None and matches(selector, it["metadata"].get("labels"))
            for it in (request.obj, request.old)
        )

    def _labels(self, request: Request) -> dict[str, str] | None:
        if request.kind is NAMESPACES:
            return request.metadata.get("labels") or {}
        if not request.kind.namespaced:
            return None
        found = self._stored.get(NAMESPACES, "", request.namespace) or {"metadata": {}}
        return found["metadata"].get("labels") or {}

    def _params(self, request: Request, held: Object, binding: Object) -> list[Object | None]:
        """The objects by which a policy is asked once each; CelError when there are none and there must be."""
        wanted, ref = held["spec"].get("paramKind"), binding["spec"].get("paramRef")
        if not wanted or not ref:
            return [None]
        group, _, version = wanted.get("apiVersion", "").rpartition("/")
        kind = next(
            (
                it
                for (of, at, _), it in self._kinds.items()
                if (of, at, it.kind) == (group, version, wanted.get("kind"))
            ),
            None,
        )
        if kind is None:
            raise CelError(
                f"failed to find resource referenced by paramKind: '{wanted.get('apiVersion')}, Kind={wanted.get('kind')}'"
            )
        namespace = ref.get("namespace") or request.namespace
        if kind.namespaced and not namespace:
            raise CelError(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
            )
        found = self._selected(kind, namespace if kind.namespaced else "", ref)
        if not found and ref.get("parameterNotFoundAction", "Deny") == "Deny":
            raise CelError("no params found for policy binding with `Deny` parameterNotFoundAction")
        return [*found]

    def _selected(self, kind: Kind, namespace: str, ref: Object) -> list[Object]:
        if ref.get("name"):
            one = self._stored.get(kind, namespace, ref["name"])
            return [one] if one else []
        selector = ref.get("selector") or {}
        return [
            it for it in self._stored.all(kind, namespace) if matches(selector, it["metadata"].get("labels"))
        ]

    # --- what they say ---------------------------------------------------------------------------

    async def _bound(self, request: Request, held: Object, binding: Object) -> None:
        spec = held["spec"]
        try:
            every = self._params(request, held, binding)
        except CelError as wrong:
            self._act(request, held, binding, [Finding(f"failed to configure binding: {wrong}", error=True)])
            return
        for params in every:
            data, run_aside = self._data(request, params), True
            try:
                run_aside = policy.heavy(spec, data)
                found = await aside.run(policy.judged, spec, data) if run_aside else policy.judged(spec, data)
            except CelError as wrong:
                found = [Finding(str(wrong.args[-1]), error=True)]
            self._act(request, held, binding, found)
            if spec.get("auditAnnotations") and not run_aside:
                _log.info(
                    "audit annotations",
                    policy=held["metadata"]["name"],
                    name=request.name,
                    **_prefixed(policy.audit(spec, data)),
                )

    def _data(self, request: Request, params: Object | None) -> dict[str, Any]:
        asked = review_of(request.kind, request.operation, request.subresource, request.obj, request.old)[
            "request"
        ]
        about = {key: value for key, value in asked.items() if key not in ("object", "oldObject")}
        namespace = self._stored.get(NAMESPACES, "", request.namespace) if request.kind.namespaced else None
        return {
            "object": request.obj, "oldObject": request.old, "request": {"subResource": "", **about}, "params": params,
            "namespaceObject": namespace,
        }  # fmt: skip

    def _act(self, request: Request, held: Object, binding: Object, found: list[Finding]) -> None:
        names = (held["metadata"]["name"], binding["metadata"]["name"])
        ignored = held["spec"].get("failurePolicy", "Fail") == "Ignore"
        counting = [it for it in found if not (it.error and ignored)]
        if not counting:
            return
        actions = binding["spec"].get("validationActions") or ()
        for it in counting:
            if "Warn" in actions:
                context.warn(
                    f"Validation failed for ValidatingAdmissionPolicy '{names[0]}' with binding '{names[1]}': {it.message}"
                )
            if "Audit" in actions:
                _log.info(
                    "validation failed",
                    policy=names[0],
                    binding=names[1],
                    name=request.name,
                    reason=it.message,
                )
        if "Deny" in actions:
            raise _denied(request, *names, counting[0])


def _denied(request: Request, name: str, binding: str, found: Finding) -> ApiError:
    message = f"ValidatingAdmissionPolicy '{name}' with binding '{binding}' denied request: {found.message}"
    refused = forbidden(request, message)
    refused.code, refused.reason = _CODES.get(found.reason, 422), found.reason
    refused.details = {**(refused.details or {}), "causes": [{"message": message}]}
    return refused


def _about(rule: Object, request: Request, wanted: Object) -> bool:
    names = rule.get("resourceNames")
    return covers(rule, request.kind, request.operation, request.subresource, wanted) and (
        not names or request.name in names
    )


def _prefixed(notes: dict[str, str]) -> dict[str, str]:
    return {f"note_{key}": value for key, value in notes.items()}
