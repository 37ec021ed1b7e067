"""Are the rules of a definition expressions at all, and about fields that exist? Asked before it is stored.

The words are those of apiextensions' own validation, which clients show as they are.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

from skiff.admission.cel import library
from skiff.admission.cel.library import Type
from skiff.admission.cel.program import CelError, renamed, translated
from skiff.admission.cel.rules import Rule, rule_of
from skiff.admission.cel.types import Types
from skiff.schema.node import SchemaNode
from skiff.schema.walk import Problem

_REASONS = ("FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate")
_PART = re.compile(r"\.([^.\[\]']+)|\['((?:\\.|[^'\\])*)'\]")


async def problems(node: SchemaNode, path: str) -> list[Problem]:
    """What is wrong with the rules of a schema; the loop goes on between them."""
    found: list[Problem] = []
    for place, at, root, correlated in list(_places(node, path, root=True, correlated=True)):
        found += _of_place(place, at, root, correlated)
        await asyncio.sleep(0)
    return found


def _places(
    node: SchemaNode, path: str, *, root: bool, correlated: bool
) -> Iterator[tuple[SchemaNode, str, bool, bool]]:
    """(node, its path, whether it is a whole object, whether there is an old value to compare with)."""
    if node.rules:
        yield node, path, root, correlated
    kept = correlated and node.map_type != "atomic"
    for name, child in node.properties.items():
        yield from _places(child, f"{path}.properties[{name}]", root=child.embedded, correlated=kept)
    if node.additional:
        it = node.additional
        yield from _places(it, f"{path}.additionalProperties", root=it.embedded, correlated=kept)
    if node.items:
        kept = correlated and node.list_type == "map"
        yield from _places(node.items, f"{path}.items", root=node.items.embedded, correlated=kept)


def _of_place(node: SchemaNode, path: str, root: bool, correlated: bool) -> list[Problem]:
    types = Types()
    kind = types.of(node, root=root)
    found: list[Problem] = []
    environments: dict[bool, Any] = {}
    for index, raw in enumerate(node.rules):
        at = f"{path}.x-kubernetes-validations[{index}]"
        rule = rule_of(raw)
        found += _of_form(rule, raw, at, node)
        if not rule.text:
            continue
        if kind is None:
            said = f'Invalid value: "{rule.text}": rules are only allowed at places with a type'
            found.append(("FieldValueInvalid", said, f"{at}.rule"))
            continue
        if rule.uses_old and not correlated and not rule.optional_old:
            said = f'Invalid value: "{rule.text}": oldSelf cannot be used on the uncorrelatable portion of the schema'
            found.append(("FieldValueInvalid", said, f"{at}.rule"))
        if rule.optional_old not in environments:
            old = {"__old": Type.List(kind)} if rule.optional_old else {"oldSelf": kind}
            environments[rule.optional_old] = library.environment({"self": kind, **old}, types.pool())
        found += _compiled(rule, at, environments[rule.optional_old])
    return found


def _of_form(rule: Rule, raw: Any, at: str, node: SchemaNode) -> Iterator[Problem]:
    if not rule.text:
        yield "FieldValueRequired", "Required value: rule is not specified", f"{at}.rule"
    if raw.get("message") is not None and not rule.message:
        yield (
            "FieldValueInvalid",
            'Invalid value: "": message must be non-empty if specified',
            f"{at}.message",
        )
    if "\n" in rule.message:
        said = f"Invalid value: {json.dumps(rule.message)}: message must not contain line breaks"
        yield "FieldValueInvalid", said, f"{at}.message"
    if "\n" in rule.text and not rule.message:
        yield (
            "FieldValueRequired",
            "Required value: message must be specified if rule contains line breaks",
            f"{at}.message",
        )
    if rule.reason and rule.reason not in _REASONS:
        said = f'Unsupported value: "{rule.reason}": supported values: ' + ", ".join(
            f'"{it}"' for it in _REASONS
        )
        yield "FieldValueNotSupported", said, f"{at}.reason"
    if rule.field_path and not _exists(rule.field_path, node):
        said = f'Invalid value: "{rule.field_path}": fieldPath must be a valid path: does not refer to a valid field'
        yield "FieldValueInvalid", said, f"{at}.fieldPath"


def _exists(path: str, node: SchemaNode) -> bool:
    at, here = 0, node
    while at < len(path):
        part = _PART.match(path, at)
        child = here.child(part[1] or part[2]) if part else None
        if part is None or child is None:
            return False
        at, here = part.end(), child
    return True


def _compiled(rule: Rule, at: str, environment: Any) -> Iterator[Problem]:
    for text, place, wanted, said in (
        (rule.text, "rule", Type.BOOL, "cel expression must evaluate to a bool"),
        (
            rule.message_expression,
            "messageExpression",
            Type.STRING,
            "messageExpression must evaluate to a string",
        ),
    ):
        if not text:
            continue
        shown = json.dumps(text, ensure_ascii=False)
        try:
            asked = renamed(text, "oldSelf", "(__old[?0])") if rule.optional_old else text
            made = translated(environment, asked)
        except CelError as wrong:
            what = "compilation failed" if place == "rule" else "messageExpression compilation failed"
            yield "FieldValueInvalid", f"Invalid value: {shown}: {what}: {wrong}", f"{at}.{place}"
            continue
        if made.return_type() not in (wanted, Type.DYN):
            yield "FieldValueInvalid", f"Invalid value: {shown}: {said}", f"{at}.{place}"
