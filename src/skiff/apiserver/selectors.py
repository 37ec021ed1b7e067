"""Which objects are meant? Label and field selectors as they stand in a query string."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from skiff.api import Object
from skiff.apiserver import fields
from skiff.errors import ApiError
from skiff.kinds import Kind

Test = Callable[[Object], bool]

_SET = re.compile(r"([^\s!=,()]+)\s+(in|notin)\s*\(([^)]*)\)")
_EQUAL = re.compile(r"([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)")
_FIELD = re.compile(r"([^!=]+)(==|=|!=)(.*)", re.DOTALL)
_EXISTS = re.compile(r"(!?)\s*([^\s!=,()]+)")
#: Fields that one selector may name: kubectl asks for five at most.
_MOST_FIELDS = 50


@dataclass
class _Wish:
    """What all parts of a selector want of one label."""

    there: bool = False  # it must be there
    allowed: set[str] | None = None  # None is anything
    denied: set[str] = field(default_factory=set)
    absent: bool = False  # it must not be there

    def fits(self, value: str) -> bool:
        """Whether a label that is there may have this value."""
        return (
            not self.absent and value not in self.denied and (self.allowed is None or value in self.allowed)
        )


def by_labels(text: str) -> Test:
    """``app=a,tier!=b,version in (1,2),!old``: all must hold. ApiError 400 for what cannot be read.

    Looking at an object takes as long as it has labels, however long the selector is.
    """
    wishes: dict[str, _Wish] = {}
    for part in _parts(text):
        _wish(wishes, part)
    there = {key for key, it in wishes.items() if it.there}

    def test(obj: Object) -> bool:
        labels: dict[str, str] = (obj.get("metadata") or {}).get("labels") or {}
        if len(there) > len(labels) or not there <= labels.keys():
            return False
        return all(wishes[key].fits(value) for key, value in labels.items() if key in wishes)

    return test if wishes else lambda _: True


def _parts(text: str) -> Iterator[str]:
    """Between commas, but for those in parentheses."""
    held: list[str] = []
    for piece in text.split(","):
        held.append(piece)
        if not held[0].count("(") or ")" in piece:
            part = ",".join(held).strip()
            held = []
            if part:
                yield part
    if held:
        raise ApiError(
            400, "BadRequest", f"unable to parse requirement: {','.join(held)[:200]!r} is not closed"
        )


def _wish(wishes: dict[str, _Wish], part: str) -> None:
    if it := _SET.fullmatch(part):
        values, wish = {value.strip() for value in it[3].split(",")}, wishes.setdefault(it[1], _Wish())
        equal = it[2] == "in"
    elif it := _EQUAL.fullmatch(part):
        values, wish = {it[3]}, wishes.setdefault(it[1], _Wish())
        equal = it[2] != "!="
    elif it := _EXISTS.fullmatch(part):
        wish = wishes.setdefault(it[2], _Wish())
        wish.absent, wish.there = wish.absent or bool(it[1]), wish.there or not it[1]
        return
    else:
        said = f"unable to parse requirement: {part[:200]!r} is no label selector"
        raise ApiError(400, "BadRequest", said)
    if equal:
        wish.there = True
        wish.allowed = values if wish.allowed is None else wish.allowed & values
    else:
        wish.denied |= values


def by_fields(text: str, kind: Kind) -> Test:
    """``metadata.name=a,spec.nodeName!=b``. ApiError 400 for a field that the kind is not selected by."""
    tests = []
    for part in filter(None, (it.strip() for it in text.split(","))):
        found = _FIELD.fullmatch(part)
        if not found:
            raise ApiError(400, "BadRequest", f"unable to parse field selector: {part[:200]!r}")
        fields.require(kind, found[1])
        tests.append((found[1], found[2] != "!=", found[3]))
    if len(tests) > _MOST_FIELDS:
        raise ApiError(400, "BadRequest", f"a field selector has at most {_MOST_FIELDS} fields")
    return lambda obj: all((fields.value(kind, obj, label) == said) is equal for label, equal, said in tests)


def exact_name(text: str) -> str:
    """The name that a field selector demands; empty when it allows more than one."""
    for part in text.split(","):
        found = _FIELD.match(part.strip())
        if found and found[1] == "metadata.name" and found[2] != "!=":
            return str(found[3])
    return ""
