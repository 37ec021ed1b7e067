"""Where did an answer come from? The facts it was made of, and the way from one fact to it."""

from __future__ import annotations

from collections.abc import Iterator

from lateen.incremental.node import Cell, Memo


def facts(memo: Memo) -> set[Cell]:
    """Every fact the answer depends on, directly or through other queries."""
    found: set[Cell] = set()
    seen: set[Memo] = set()
    unseen = [memo]
    while unseen:
        for source in unseen.pop().sources:
            if isinstance(source, Cell):
                found.add(source)
            elif source not in seen:
                seen.add(source)
                unseen.append(source)
    return found


def way(cell: Cell, memo: Memo) -> Iterator[Cell | Memo]:
    """One shortest chain of reads from a fact to an answer, the fact first; empty when there is none."""
    came_from: dict[Cell | Memo, Memo | None] = {memo: None}
    level: list[Memo] = [memo]
    while level and cell not in came_from:
        below: list[Memo] = []
        for reader in level:
            for source in reader.sources:
                if source not in came_from:
                    came_from[source] = reader
                    if isinstance(source, Memo):
                        below.append(source)
        level = below
    step: Cell | Memo | None = cell if cell in came_from else None
    while step is not None:
        yield step
        step = came_from[step]
