"""What does a path of a CustomResourceDefinition's column find? The part of JSONPath that such paths use.

``.spec.size``, ``.status.conditions[?(@.type=="Ready")].status``, ``.spec.hosts[0]``, ``.metadata.labels['a/b']``,
``.spec.ports[*].name``; see https://kubernetes.io/docs/reference/kubectl/jsonpath/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

Step = Callable[[Any], Iterator[Any]]

_STEP = re.compile(
    r"""\.?(?:
        (?P<name>(?:\\.|[^.\[\]\s])+)
        | \[\?\(@\.(?P<key>[\w./\\-]+)\s*(?P<equal>==|!=)\s*(?P<quote>["'])(?P<value>[^"']*)(?P=quote)\)\]
        | \[(?P<index>-?\d+)\]
        | \[(?P<all>\*)\]
        | \[(?P<quoted>["'])(?P<word>[^"']+)(?P=quoted)\]
    )""",
    re.VERBOSE,
)


def find(path: str, value: Any) -> list[Any]:
    """All that a path finds; nothing when it cannot be read."""
    found = [value]
    for step in _compiled(path):
        found = [it for held in found for it in step(held)]
    return found


@lru_cache(maxsize=1024)
def _compiled(path: str) -> tuple[Step, ...]:
    text, steps, at = path.strip().removeprefix("{").removesuffix("}").removeprefix("$"), [], 0
    while at < len(text):
        found = _STEP.match(text, at)
        if not found or found.end() == at:
            return (lambda _: iter(()),)
        steps.append(_step(found))
        at = found.end()
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    if found["key"]:
        return _filter(found["key"].split("."), found["value"], equal=found["equal"] == "==")
    if found["index"]:
        return _index(int(found["index"]))
    name = found["word"] or re.sub(r"\\(.)", r"\1", found["name"] or "")
    return _every if found["all"] or name == "*" else _field(name)


def _field(name: str) -> Step:
    return lambda value: iter((value[name],) if isinstance(value, dict) and name in value else ())


def _index(n: int) -> Step:
    return lambda value: iter(
        (value[n],) if isinstance(value, list) and -len(value) <= n < len(value) else ()
    )


def _every(value: Any) -> Iterator[Any]:
    return iter(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())


def _filter(keys: list[str], wanted: str, *, equal: bool) -> Step:
    def held(it: Any) -> str:
        for key in keys:
            it = it.get(key) if isinstance(it, dict) else None
        return str(it).lower() if isinstance(it, bool) else "" if it is None else str(it)

    return lambda value: (
        it for it in (value if isinstance(value, list) else ()) if (held(it) == wanted) is equal
    )
