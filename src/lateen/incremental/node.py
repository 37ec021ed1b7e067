"""What depends on what? Cells hold facts, memos hold results of queries; between them lie the reads."""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lateen.incremental.query import Query


class State(enum.Enum):
    """What is known about a memo after a change.

    A change makes the memos which read it STALE, and those further away SUSPECT.
    A suspect is clean again without running if all its sources prove to be equal to before.
    """

    CLEAN = enum.auto()
    SUSPECT = enum.auto()
    STALE = enum.auto()


class Cell:
    """One fact which can be read: an object of a table, or the keys under one index value."""

    __slots__ = ("label", "observers")

    def __init__(self, label: tuple[Hashable, ...]) -> None:
        self.label = label
        self.observers: dict[Memo, None] = {}

    def __repr__(self) -> str:
        return "/".join(getattr(part, "__name__", str(part)) for part in self.label)


class Memo:
    """The remembered result of one call, and what it read, in the order it was read."""

    __slots__ = (
        "args",
        "changed",
        "observers",
        "query",
        "running",
        "sources",
        "state",
        "suspects",
        "value",
        "watched",
    )

    def __init__(self, query: Query[Any, Any], args: tuple[Any, ...]) -> None:
        self.query = query
        self.args = args
        self.value: Any = None
        self.state = State.STALE
        self.sources: dict[Cell | Memo, int] = {}
        # Dictionaries, not sets: the order in which watches become due must not depend on addresses.
        self.observers: dict[Memo, None] = {}
        # Each at most once: a memo that nobody reads hears of every change until it is swept.
        self.suspects: dict[Memo, None] = {}
        self.changed: dict[Memo, None] = {}
        self.watched = False
        self.running = False

    def __repr__(self) -> str:
        return f"{self.query.name}({', '.join(map(str, self.args))})"

    @property
    def idle(self) -> bool:
        """Whether nobody would miss it."""
        return not (self.observers or self.watched)

    def replace_sources(self, sources: dict[Cell | Memo, int]) -> None:
        """Observe what was read this time and nothing else."""
        for source in self.sources.keys() - sources.keys():
            source.observers.pop(self, None)
        for source in sources:
            if source not in self.sources:
                source.observers[self] = None
        self.sources = sources


def mark(cells: list[Cell]) -> Iterator[Memo]:
    """Spread doubt from changed cells to everything which can see them; yield the watched memos among it."""
    frontier: list[Memo] = []
    for cell in cells:
        for memo in cell.observers:
            if memo.state is State.CLEAN:
                frontier.append(memo)
            memo.state = State.STALE
    while frontier:
        memo = frontier.pop()
        if memo.watched:
            yield memo
        for observer in memo.observers:
            observer.suspects[memo] = None
            if observer.state is State.CLEAN:
                observer.state = State.SUSPECT
                frontier.append(observer)
