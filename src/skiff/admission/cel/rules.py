"""Which rules of a definition does an object break? ``x-kubernetes-validations``, at every place that has some.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from skiff.admission.cel import aside
from skiff.admission.cel.program import CelError, Program, compiled, renamed, uses
from skiff.admission.cel.types import changed, needs_change
from skiff.schema.node import SchemaNode
from skiff.schema.walk import Problem

#: What all rules of one object may take; Kubernetes counts cost, we count time.
BUDGET_S = 10.0
_BREATH_S = 0.005
_VARIABLES = ("self", "oldSelf")
_OPTIONAL = ("self", "__old")
_LONGEST_MESSAGE = 5120
_OUT_OF_BUDGET = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)


class Rule(NamedTuple):
    """One of ``x-kubernetes-validations``."""

    text: str
    message: str = ""
    message_expression: str = ""
    reason: str = ""
    field_path: str = ""
    optional_old: bool = False
    uses_old: bool = False

    def program(self) -> Program:
        """Compiled; the old value of an optional one is a list of none or one, since values of ours cannot be optional."""
        return self._compiled(self.text)

    def _compiled(self, text: str) -> Program:
        if self.optional_old:
            return compiled(renamed(text, "oldSelf", "(__old[?0])"), _OPTIONAL)
        return compiled(text, _VARIABLES)

    def told(self, data: Mapping[str, Any]) -> str:
        """What is said when it is broken."""
        if self.message_expression:
            try:
                made = self._compiled(self.message_expression)(data)
            except CelError:
                made = None
            if isinstance(made, str):
                made = made.strip()
                if made and "\n" not in made and len(made) <= _LONGEST_MESSAGE:
                    return made
        return self.message or f"failed rule: {self.text}"


class Due(NamedTuple):
    """A rule and the values it is about."""

    rule: Rule
    data: dict[str, Any]
    type: str
    path: str


@dataclass(slots=True, eq=False)
class Ruled:
    """A place of a schema with rules at it or below it."""

    node: SchemaNode
    changes: bool
    rules: tuple[Rule, ...] = ()
    fields: dict[str, Ruled] = field(default_factory=dict)
    items: Ruled | None = None
    additional: Ruled | None = None
    besides: tuple[Ruled, ...] = ()  # of allOf


def rule_of(raw: Mapping[str, Any]) -> Rule:
    """A rule as a definition writes it."""
    text, message = str(raw.get("rule") or "").strip(), str(raw.get("messageExpression") or "").strip()
    uses_old = uses(text, "oldSelf") or uses(message, "oldSelf")
    return Rule(
        text, str(raw.get("message") or "").strip(), message, str(raw.get("reason") or ""), str(raw.get("fieldPath") or ""),
        bool(raw.get("optionalOldSelf")), uses_old,
    )  # fmt: skip


def ruled(node: SchemaNode) -> Ruled | None:
    """The rules of a schema; None when it has none."""
    made = Ruled(node, False, tuple(rule_of(it) for it in node.rules if it.get("rule")))
    for name, child in node.properties.items():
        if inside := ruled(child):
            made.fields[name] = inside
    made.items = ruled(node.items) if node.items else None
    made.additional = ruled(node.additional) if node.additional else None
    made.besides = tuple(it for it in map(ruled, node.combined.get("allOf", ())) if it)
    if not (made.rules or made.fields or made.items or made.additional or made.besides):
        return None
    made.changes = bool(made.rules) and needs_change(node)
    return made


def due(value: Any, old: Any, place: Ruled, path: str = "") -> Iterator[Due]:
    """Every rule that must hold. What was so before and did not change is not asked again, but for rules about changes."""
    if value is None:
        return
    if place.rules:
        yield from _here(value, old, place, path)
    for it in place.besides:
        yield from due(value, old, it, path)
    if isinstance(value, dict):
        before = old if isinstance(old, dict) and place.node.map_type != "atomic" else {}
        for name, inside in value.items():
            if child := place.fields.get(name):
                yield from due(inside, before.get(name), child, f"{path}.{name}" if path else name)
            elif place.additional and name not in place.node.properties:
                yield from due(inside, before.get(name), place.additional, f"{path}[{name}]")
    elif isinstance(value, list) and place.items:
        held = _by_keys(old, place.node)
        for index, it in enumerate(value):
            yield from due(it, held.get(_key(it, place.node)), place.items, f"{path}[{index}]")


def _here(value: Any, old: Any, place: Ruled, path: str) -> Iterator[Due]:
    same = old is not None and value == old
    now = changed(value, place.node) if place.changes else value
    before = changed(old, place.node) if place.changes and old is not None else old
    for rule in place.rules:
        if rule.optional_old:
            yield Due(rule, {"self": now, "__old": [] if before is None else [before]}, place.node.type, path)
        elif rule.uses_old:
            if old is not None:
                yield Due(rule, {"self": now, "oldSelf": before}, place.node.type, path)
        elif not same:
            yield Due(rule, {"self": now, "oldSelf": None}, place.node.type, path)


def _by_keys(items: Any, node: SchemaNode) -> dict[str, Any]:
    """The items of a list that is a map; no other list says which item was which."""
    if node.list_type != "map" or not isinstance(items, list):
        return {}
    return {_key(it, node): it for it in items}


def _key(item: Any, node: SchemaNode) -> str:
    if node.list_type != "map" or not isinstance(item, dict):
        return ""
    return json.dumps([item.get(name) for name in node.list_keys])


def judged(it: Due) -> Problem | None:
    """What is wrong with one place by one rule."""
    try:
        holds = it.rule.program()(it.data)
    except CelError as wrong:
        about = it.rule.message or it.rule.text
        if str(wrong).startswith("no such overload"):
            said = f"'{wrong}': call arguments did not match a supported operator, function or macro signature for rule: {about}"
        elif str(wrong) == aside.EXCEEDED:
            said = f"'{wrong}': no further validation rules will be run due to call cost exceeds limit for rule: {about}"
        else:
            said = f"{wrong} evaluating rule: {about}"
        return "FieldValueInvalid", f'Invalid value: "{it.type}": {said}', it.path or "<nil>"
    return None if holds is True else _problem(it)


def _problem(it: Due) -> Problem:
    said, path = it.rule.told(it.data), it.path + it.rule.field_path
    path = path.removeprefix(".") or "<nil>"
    match it.rule.reason:
        case "FieldValueForbidden":
            return it.rule.reason, f"Forbidden: {said}", path
        case "FieldValueRequired":
            return it.rule.reason, f"Required value: {said}", path
        case "FieldValueDuplicate":
            return it.rule.reason, f'Duplicate value: "{it.type}"', path
    return "FieldValueInvalid", f'Invalid value: "{it.type}": {said}', path


def judged_all(listed: list[Due]) -> list[Problem]:
    """Those of all, in a process of its own."""
    return [found for it in listed if (found := judged(it))]


async def broken(value: Any, old: Any, place: Ruled) -> list[Problem]:
    """Everything that is wrong. The loop goes on meanwhile, and what may take long is done aside."""
    found: list[Problem] = []
    heavy: list[Due] = []
    begun = breath = time.monotonic()
    for it in due(value, old, place):
        if it.rule.program().heavy(it.data):
            heavy.append(it)
        elif problem := judged(it):
            found.append(problem)
        now = time.monotonic()
        if now - begun > BUDGET_S or len(heavy) > 10_000:
            return [*found, ("FieldValueInvalid", f'Invalid value: "{it.type}": {_OUT_OF_BUDGET}', it.path)]
        if now - breath > _BREATH_S:
            await asyncio.sleep(0)
            breath = time.monotonic()
    if heavy:
        try:
            found += await aside.run(judged_all, heavy)
        except CelError:
            first = heavy[0]
            found.append(
                ("FieldValueInvalid", f'Invalid value: "{first.type}": {_OUT_OF_BUDGET}', first.path)
            )
    return found
