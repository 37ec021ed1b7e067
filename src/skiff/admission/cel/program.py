"""What does an expression say of a value? Compiled once, evaluated often, and never longer than its bound."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

#: Steps of all loops together after which the library gives up.
STEPS = 10_000
#: An evaluation that may take longer than this is done in a process of its own (nanoseconds, estimated).
HEAVY_NS = 20_000_000
_NODE_NS, _STEP_NS = 4_000, 300
#: An expression itself; Kubernetes bounds what they cost, this bounds what compiling them costs.
LONGEST = 20_000
_LOOP = re.compile(r"\.\s*(all|exists|exists_one|existsOne|map|filter|transform\w+|optMap|optFlatMap)\s*\(")
_WORD = re.compile(
    r"(?P<text>[rRbB]{0,2}(?:\"{3}[\s\S]*?\"{3}|'{3}[\s\S]*?'{3}|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'))"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<other>.)", re.DOTALL,
)  # fmt: skip


class CelError(ValueError):
    """The expression cannot be compiled, or has no value; the words are those of Kubernetes where it has some."""


class Program:
    """A compiled expression."""

    def __init__(self, text: str, compiled: Any) -> None:
        self.text, self._compiled = text, compiled
        self._loops = len(_LOOP.findall(text))
        self._names = frozenset(it for named, it in words(text) if named)

    def __call__(self, data: Mapping[str, Any]) -> Any:
        """Its value; CelError when it has none."""
        from skiff.admission.cel.library import Type

        try:
            said = self._compiled.eval(data=self._asked(data))
            wrong = str(said.value()) if said.type() == Type.ERROR else ""
            if not wrong:
                return said.plain_value()
        except (RuntimeError, TypeError, SystemError, UnicodeError, ValueError) as failed:
            wrong = str(failed)
        raise CelError(_worded(wrong))

    def _asked(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Only what it speaks of: every value is converted, whether it is looked at or not."""
        return {name: value for name, value in data.items() if name in self._names}

    def heavy(self, data: Mapping[str, Any]) -> bool:
        """Whether evaluating it may take long."""
        nodes, text = measured(self._asked(data).values(), HEAVY_NS // _NODE_NS)
        steps = min(STEPS, max(nodes, 1) ** min(self._loops, 4)) if self._loops else 1
        return nodes * _NODE_NS + steps * (text + len(self.text) + _STEP_NS) > HEAVY_NS


def measured(values: Iterable[Any], most: int) -> tuple[int, int]:
    """(how many values, how many characters) there are; it stops counting above ``most`` values."""
    nodes, text, waiting = 0, 0, list(values)
    while waiting and nodes <= most:
        it = waiting.pop()
        nodes += 1
        if isinstance(it, str | bytes):
            text += len(it)
        elif isinstance(it, dict):
            text += sum(map(len, it))
            waiting += it.values()
        elif isinstance(it, list):
            waiting += it
    return nodes, text


def _worded(wrong: str) -> str:
    """What the library says, as Kubernetes words it."""
    said = re.sub(r"^[A-Z_]+: ", "", re.sub(r" \[[A-Z_]+\]$", "", wrong))
    if found := re.search(r'Key not found in map : "?(.*?)"?$', said, re.DOTALL):
        return f"no such key: {found[1]}"
    if "No matching overloads found" in said:
        return f"no such overload: {said.partition(' : ')[2]}"
    if "Iteration budget exceeded" in said:
        return "operation cancelled: actual cost limit exceeded"
    return "division by zero" if said == "divide by zero" else said


@lru_cache(maxsize=8)
def _environment(variables: tuple[str, ...]) -> Any:
    from skiff.admission.cel import library  # 8 MB: only for those who have expressions
    from skiff.admission.cel.library import Type

    return library.environment(dict.fromkeys(variables, Type.DYN))


@lru_cache(maxsize=4096)
def compiled(text: str, variables: tuple[str, ...]) -> Program:
    """The program, with variables of any type. CelError when it is none."""
    return Program(text, translated(_environment(variables), text))


def translated(environment: Any, text: str) -> Any:
    """What the library makes of an expression."""
    if len(text) > LONGEST:
        raise CelError(f"the expression has more than {LONGEST} characters")
    try:
        return environment.compile(text)
    except (UnicodeError, TypeError) as wrong:  # half a character
        raise CelError("the expression is no valid text") from wrong
    except RuntimeError as wrong:
        said = re.sub(r" \[[A-Z_]+\]$", "", str(wrong)).removeprefix("INVALID_ARGUMENT: ")
        said = re.sub(r" not found in struct 't\.M\d+'", "", said)
        raise CelError(said) from wrong


def words(text: str) -> list[tuple[bool, str]]:
    """(whether it is a name that does not follow a point, the text) of all parts."""
    found, point = [], False
    for it in _WORD.finditer(text):
        name = it.lastgroup == "word"
        found.append((name and not point, it[0]))
        if not it[0].isspace():
            point = it[0] in (".", "?") and (it[0] == "." or point)
    return found


def uses(text: str, name: str) -> bool:
    """Whether an expression asks for a variable."""
    return (True, name) in words(text)


def renamed(text: str, name: str, other: str) -> str:
    """The expression with another expression in the place of a variable."""
    return "".join(other if named and it == name else it for named, it in words(text))
