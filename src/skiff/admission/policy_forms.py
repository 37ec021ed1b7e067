"""Are policies, their bindings and the conditions of webhooks well formed? Asked before they are stored."""

from __future__ import annotations

import re
from collections.abc import Iterator

from skiff.admission.cel import conditions, policy
from skiff.admission.cel.conditions import VARIABLES
from skiff.admission.cel.program import CelError, compiled, uses
from skiff.admission.request import Request
from skiff.api import Object
from skiff.errors import invalid
from skiff.kinds import (
    MUTATING_WEBHOOKS,
    VALIDATING_POLICIES,
    VALIDATING_POLICY_BINDINGS,
    VALIDATING_WEBHOOKS,
    Kind,
)  # fmt: skip
from skiff.schema.walk import Problem

KINDS: tuple[Kind, ...] = (
    VALIDATING_POLICIES,
    VALIDATING_POLICY_BINDINGS,
    VALIDATING_WEBHOOKS,
    MUTATING_WEBHOOKS,
)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ACTIONS = ("Deny", "Warn", "Audit")
_REASONS = ("Unauthorized", "Forbidden", "Invalid", "RequestEntityTooLarge")
_MOST = 64


class PolicyForms:
    """Refuses what could not be asked."""

    def validate(self, request: Request) -> None:
        """422 with every place that is wrong."""
        new, old = request.obj, request.old
        if new is None or request.subresource:
            return
        if request.kind is VALIDATING_POLICIES:
            found = (
                list(_policy(new.get("spec") or {})) if not old or old.get("spec") != new.get("spec") else []
            )
        elif request.kind is VALIDATING_POLICY_BINDINGS:
            found = list(_binding(new.get("spec") or {}))
        else:
            found = [
                it for index, hook in enumerate(new.get("webhooks") or ())
                for it in conditions.wrong(hook.get("matchConditions") or (), f"webhooks[{index}].matchConditions")
            ]  # fmt: skip
        if found:
            raise invalid(request.kind.kind, request.kind.group, request.name, found)


class PolicyDefaults:
    """Completes policies and bindings."""

    def mutate(self, request: Request, obj: Object) -> Object:
        """With the fields that have a default."""
        spec = dict(obj.get("spec") or {})
        if request.kind is VALIDATING_POLICIES:
            spec = {"failurePolicy": "Fail", **spec}
            place = "matchConstraints"
        else:
            place = "matchResources"
        if spec.get(place):
            held = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, **spec[place]}
            for word in ("resourceRules", "excludeResourceRules"):
                if held.get(word):
                    held[word] = [{"scope": "*", **it} for it in held[word]]
            spec[place] = held
        return {**obj, "spec": spec}


def _policy(spec: Object) -> Iterator[Problem]:
    if not (spec.get("matchConstraints") or {}).get("resourceRules"):
        yield "FieldValueRequired", "Required value", "spec.matchConstraints.resourceRules"
    if not spec.get("validations") and not spec.get("auditAnnotations"):
        yield (
            "FieldValueRequired",
            "Required value: validations or auditAnnotations must be non-empty",
            "spec.validations",
        )
    for place in ("validations", "variables", "auditAnnotations", "matchConditions"):
        if len(spec.get(place) or ()) > _MOST:
            yield (
                "FieldValueTooMany",
                f"Too many: {len(spec[place])}: must have at most {_MOST} items",
                f"spec.{place}",
            )
            return
    yield from _names(spec)
    for index, it in enumerate(spec.get("validations") or ()):
        if it.get("reason") and it["reason"] not in _REASONS:
            said = ", ".join(f'"{one}"' for one in _REASONS)
            yield (
                "FieldValueNotSupported",
                f'Unsupported value: "{it["reason"]}": supported values: {said}',
                f"spec.validations[{index}].reason",
            )
    for place, _, text in policy.texts(spec):
        yield from _expression(text, f"spec.{place}")


def _names(spec: Object) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, it in enumerate(spec.get("variables") or ()):
        name, at = it.get("name") or "", f"spec.variables[{index}].name"
        if not _IDENTIFIER.fullmatch(name):
            yield "FieldValueInvalid", f'Invalid value: "{name}": name is not a valid CEL identifier', at
        elif name in seen:
            yield "FieldValueDuplicate", f'Duplicate value: "{name}"', at
        used = policy.names(it.get("expression") or "") - seen
        if used:  # a variable knows those before it: nothing goes in circles
            said = f"undefined field '{min(used)}'"
            yield (
                "FieldValueInvalid",
                f'Invalid value: "{it.get("expression")}": compilation failed: {said}',
                f"spec.variables[{index}].expression",
            )
        seen.add(name)
    for place, _, text in policy.texts(spec):
        if not place.startswith("variables") and (unknown := policy.names(text) - seen):
            said = f"compilation failed: undefined field '{min(unknown)}'"
            yield "FieldValueInvalid", f'Invalid value: "{text}": {said}', f"spec.{place}"


def _expression(text: str, at: str) -> Iterator[Problem]:
    if not text.strip():
        yield "FieldValueRequired", "Required value: expression is not specified", at
        return
    if uses(text, "authorizer"):
        said = "compilation failed: authorizer is not supported by this server: ask by request.userInfo"
        yield "FieldValueInvalid", f'Invalid value: "{text}": {said}', at
        return
    try:
        compiled(text, VARIABLES)
    except CelError as wrong:
        yield "FieldValueInvalid", f'Invalid value: "{text}": compilation failed: {wrong}', at


def _binding(spec: Object) -> Iterator[Problem]:
    if not spec.get("policyName"):
        yield "FieldValueRequired", "Required value", "spec.policyName"
    actions = spec.get("validationActions") or []
    if not actions:
        yield "FieldValueRequired", "Required value", "spec.validationActions"
    for index, it in enumerate(actions):
        if it not in _ACTIONS:
            said = ", ".join(f'"{one}"' for one in _ACTIONS)
            yield (
                "FieldValueNotSupported",
                f'Unsupported value: "{it}": supported values: {said}',
                f"spec.validationActions[{index}]",
            )
    if "Deny" in actions and "Warn" in actions:
        said = "must not contain both Deny and Warn (repeating the same validation failure information in the API response "
        said += "and headers serves no purpose)"
        yield "FieldValueInvalid", f'Invalid value: ["Deny","Warn"]: {said}', "spec.validationActions"
    ref = spec.get("paramRef")
    if ref is not None and bool(ref.get("name")) == (ref.get("selector") is not None):
        yield (
            "FieldValueRequired",
            "Required value: one of name or selector must be specified",
            "spec.paramRef",
        )
