"""What in an object cannot be decoded? All of it: what is wrong is taken out, and the rest is tried again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lateen.api.decode import decode
from lateen.api.meta import Fact
from lateen.names.problems import Problem

#: Each time the rest is tried again, from its beginning.
_MOST = 20
_MOST_VALUES = 200_000
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def decoded(document: Mapping[str, Any]) -> tuple[list[Problem], Fact | None]:
    """(what is wrong, the fact in what remains), None when too little remains to say more."""
    problems: list[Problem] = []
    rest: Any = document
    most = 0  # counted when there is something wrong
    while isinstance(found := decode(rest), Problem):
        if found.path in {it.path for it in problems}:
            return problems, None  # it was required
        problems.append(found)
        most = most or max(2, min(_MOST, _MOST_VALUES // values(document)))
        rest = _without(rest, [int(index) if index else name for index, name in _STEP.findall(found.path)])
        if rest is None or len(problems) >= most:
            return problems, None
    return problems, found


def values(tree: Any) -> int:
    """How many values a document has, at least one."""
    rest, seen = [tree], 0
    while rest:
        it = rest.pop()
        seen += 1
        rest += it.values() if isinstance(it, Mapping) else it if isinstance(it, list) else ()
    return seen


def _without(tree: Any, steps: Sequence[str | int]) -> Any:
    """The document without one field; None where that is not possible: in a list, others would move."""
    if not steps:
        return None
    step, *further = steps
    if isinstance(step, int):
        if (
            not isinstance(tree, list)
            or step >= len(tree)
            or (inside := _without(tree[step], further)) is None
        ):
            return None
        return [*tree[:step], inside, *tree[step + 1 :]]
    if not isinstance(tree, Mapping) or step not in tree:
        return None
    if not further:
        return {key: value for key, value in tree.items() if key != step}
    inside = _without(tree[step], further)
    return None if inside is None else {**tree, step: inside}
