"""What looking at one long text costs, in whatever field it stands: it grows with the text, never with its square."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lateen.api.decode import KINDS, STORED
from lateen.api.validate import RULES, texts, validate
from lateen.testing.objects import document

LONG = 100_000
#: Processor time for one object; what grows with the square takes minutes.
LONGEST_S = 2.0
#: Beginnings of things that are searched for an end, and what a rule may split at.
UNITS = (
    "%REQ(",
    "%A",
    "%",
    "(",
    "[",
    "{",
    "a.",
    "*.",
    "\\",
    "1h",
    "a,",
    "a|",
    " ",
    "é",
    "-",
    "/",
    "a=",
    "$",
    '"',
    "a:",
)
KINDS_WITH_RULES = sorted(it.__name__ for it in {**KINDS, **STORED}.values() if it.__name__ in RULES)


def places(it: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each text."""
    inside = it.items() if isinstance(it, dict) else enumerate(it) if isinstance(it, list) else ()
    if isinstance(it, str):
        yield above
    for key, one in inside:
        yield from places(one, (*above, key))


def with_text(whole: dict[str, Any], way: tuple[Any, ...], text: str) -> dict[str, Any]:
    made = copy.deepcopy(whole)
    at: Any = made
    for step in way[:-1]:
        at = at[step]
    at[way[-1]] = text
    return made


@pytest.mark.finding("redteam 6: a header value of a megabyte holds the control plane for hours")
@pytest.mark.parametrize("unit", UNITS)
def test_a_rule_reads_a_text_a_bounded_number_of_times(unit: str) -> None:
    rules = [
        it
        for name, it in vars(texts).items()
        if it.__class__.__name__ == "function" and not name.startswith("_")
    ]
    text = unit * (LONG // len(unit))
    slow = []
    for rule in rules:
        if rule.__code__.co_argcount != 1 or next(iter(rule.__annotations__.values())) != "str":
            continue
        began = time.thread_time()
        rule(text)
        if time.thread_time() - began > LONGEST_S:
            slow.append(rule.__name__)
    assert not slow


@pytest.mark.finding("redteam 6: a header value of a megabyte holds the control plane for hours")
@pytest.mark.parametrize("kind", KINDS_WITH_RULES)
def test_a_long_text_in_any_field_costs_little(kind: str) -> None:
    whole = document(kind)
    slow = []
    for way in places(whole.get("spec", {}), ("spec",)):
        for unit in UNITS:
            made = with_text(whole, way, unit * (LONG // len(unit)))
            began = time.thread_time()
            validate(made)
            if time.thread_time() - began > LONGEST_S:
                slow.append((way, unit))
    assert not slow
