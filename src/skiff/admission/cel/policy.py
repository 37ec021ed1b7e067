"""What does a ValidatingAdmissionPolicy say of one request? A pure answer, so that it can be worked out anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from skiff.admission.cel import aside
from skiff.admission.cel.conditions import VARIABLES, all_hold
from skiff.admission.cel.program import CelError, compiled, measured, uses

#: What one variable may hold.
_MOST_NODES, _MOST_TEXT = 10_000, 1_000_000
_VARIABLE = re.compile(r"\bvariables\s*\.\s*([A-Za-z_]\w*)")
_LONGEST_MESSAGE = 5120


class Finding(NamedTuple):
    """One thing that a policy has against a request."""

    message: str
    reason: str = "Invalid"
    error: bool = False  # it could not be worked out: ``failurePolicy`` says what that means


class _Scope:
    """The values of a policy's variables, each worked out when it is asked for."""

    def __init__(self, spec: dict[str, Any], data: dict[str, Any]) -> None:
        self._texts = {it["name"]: it["expression"] for it in spec.get("variables") or ()}
        self._data, self._known = data, dict[str, Any]()

    def value(self, text: str) -> Any:
        """Of an expression; CelError when it has none."""
        return compiled(text, VARIABLES)(self.data(text))

    def data(self, text: str) -> dict[str, Any]:
        """What an expression speaks about."""
        if "variables" not in text or not self._texts:
            return {**self._data, "variables": {}}
        asked = names(text) & set(self._texts)
        return {**self._data, "variables": {it: self._variable(it) for it in sorted(asked)}}

    def _variable(self, name: str) -> Any:
        if name not in self._known:
            try:
                value = self.value(self._texts[name])
            except CelError as wrong:
                raise CelError(f'composited variable "{name}" fails to evaluate: {wrong}') from wrong
            nodes, text = measured([value], _MOST_NODES)
            if nodes > _MOST_NODES or text > _MOST_TEXT:
                raise CelError(aside.EXCEEDED)
            self._known[name] = value
        return self._known[name]


def judged(spec: dict[str, Any], data: dict[str, Any]) -> list[Finding]:
    """Everything that a policy has against a request; nothing when its conditions say that it is about others."""
    scope = _Scope(spec, data)
    try:
        if not all_hold(spec.get("matchConditions") or (), {**data, "variables": {}}, VARIABLES):
            return []
    except CelError as wrong:
        return [Finding(str(wrong), error=True)]
    return [found for it in spec.get("validations") or () if (found := _validated(scope, it))]


def _validated(scope: _Scope, validation: dict[str, Any]) -> Finding | None:
    text = validation["expression"]
    try:
        holds = scope.value(text)
    except CelError as wrong:
        return Finding(f"expression '{text}' resulted in error: {wrong}", error=True)
    if holds is True:
        return None
    return Finding(_message(scope, validation), validation.get("reason") or "Invalid")


def _message(scope: _Scope, validation: dict[str, Any]) -> str:
    if asked := validation.get("messageExpression"):
        try:
            made = scope.value(asked)
        except CelError:
            made = None
        if (
            isinstance(made, str)
            and made.strip()
            and "\n" not in made.strip()
            and len(made) <= _LONGEST_MESSAGE
        ):
            return made.strip()
    said = (validation.get("message") or "").strip()
    return said or f"failed expression: {validation['expression'].strip()}"


def audit(spec: dict[str, Any], data: dict[str, Any]) -> dict[str, str]:
    """The notes for the audit log."""
    scope, made = _Scope(spec, data), {}
    for it in spec.get("auditAnnotations") or ():
        try:
            value = scope.value(it["valueExpression"])
        except CelError as wrong:
            value = f"failed: {wrong}"
        if isinstance(value, str) and value:
            made[it["key"]] = value[:10_240]
    return made


def heavy(spec: dict[str, Any], data: dict[str, Any]) -> bool:
    """Whether any part of it may take long."""
    whole = {**data, "variables": {}}
    return any(compiled(text, VARIABLES).heavy(whole) for _, _, text in texts(spec))


def names(text: str) -> set[str]:
    """Which variables an expression asks for."""
    return set(_VARIABLE.findall(text)) if uses(text, "variables") else set()


def texts(spec: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(place, wanted type, text) of all expressions."""
    for index, it in enumerate(spec.get("matchConditions") or ()):
        yield f"matchConditions[{index}].expression", "bool", it.get("expression") or ""
    for index, it in enumerate(spec.get("variables") or ()):
        yield f"variables[{index}].expression", "", it.get("expression") or ""
    for index, it in enumerate(spec.get("validations") or ()):
        yield f"validations[{index}].expression", "bool", it.get("expression") or ""
        if it.get("messageExpression"):
            yield f"validations[{index}].messageExpression", "string", it["messageExpression"]
    for index, it in enumerate(spec.get("auditAnnotations") or ()):
        yield f"auditAnnotations[{index}].valueExpression", "", it.get("valueExpression") or ""
