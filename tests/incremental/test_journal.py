"""A journal reproduces a database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lateen.incremental import Change, Database, Index, query
from lateen.incremental.journal import Journal


class Name(NamedTuple):
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Ball:
    colour: str
    weight: int = 0


by_colour: Index[str, Ball] = Index(Ball, lambda it: [it.colour])
JOURNAL = Journal({Ball: Name})


@query
def reds(db: Database) -> tuple[tuple[Name, Ball | None], ...]:
    return tuple((key, db.get(Ball, key)) for key in db.keys(by_colour, "red"))


names = st.builds(Name, st.sampled_from("ab"), st.sampled_from("ab"))
balls = st.one_of(st.none(), st.builds(Ball, st.sampled_from(["red", "blue"]), st.integers(0, 1)))
batches = st.lists(st.lists(st.builds(Change, st.just(Ball), names, balls), max_size=3), max_size=5)


@given(batches)
@settings(max_examples=200, deadline=None)
def test_the_same_lines_give_the_same_answers_at_every_revision(history: list[list[Change]]) -> None:
    first, second = Database([by_colour]), Database([by_colour])
    lines = []
    replayed = JOURNAL.replay(second, iter(lambda: lines[-1], None))
    for batch in history:
        lines.append(JOURNAL.line(batch))
        first.apply(batch)
        assert next(replayed) == first.revision
        assert reds(second) == reds(first)


def test_a_line_of_another_program_is_refused() -> None:
    with pytest.raises(KeyError, match="Cube"):
        JOURNAL.batch(b'[["Cube",["a","b"],null]]')
    with pytest.raises(msgspec.ValidationError, match=r"Expected `int`"):
        JOURNAL.batch(b'[["Ball",["a","b"],{"colour":"red","weight":"x"}]]')
