"""Names that differ by one slip of the fingers, found without comparing a name with all that are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

#: What is left of each known name when one character is dropped, and the name itself -> the name.
Known: TypeAlias = Mapping[str, str]

#: Names of Kubernetes are not longer. Of two letters, another one makes another word.
_LONGEST, _SHORTEST = 63, 3


def known(names: Iterable[str]) -> Known:
    """Everything to which ``near`` compares; of two names that are alike, the first counts."""
    found: dict[str, str] = {}
    for name in names:
        if len(name) <= _LONGEST:
            for it in _worn(name):
                found.setdefault(it, name)
    return found


def near(name: str, to: Known) -> str:
    """The known name from which this one differs by a character more, less or changed, or by two that changed places."""
    if len(name) > _LONGEST:
        return ""
    return next((to[it] for it in _worn(name) if it in to), "")


def _worn(name: str) -> Iterator[str]:
    yield name
    for at in range(len(name) if len(name) >= _SHORTEST else 0):
        yield name[:at] + name[at + 1 :]
