"""The engine, on a toy program: sums of numbers by colour."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lateen.incremental import Change, CycleError, Database, Index, explain, mapped, query


@dataclass(frozen=True, slots=True)
class Ball:
    colour: str
    weight: int


by_colour: Index[str, Ball] = Index(Ball, lambda ball: [ball.colour])


@query
def parity(db: Database, name: str) -> int:
    ball = db.get(Ball, name)
    return ball.weight % 2 if ball else 0


@query
def names(db: Database, colour: str) -> tuple[str, ...]:
    return db.keys(by_colour, colour)


@query
def parity_of(db: Database, name: str, colour: str) -> int:
    return parity(db, name)


parities = mapped(names, parity_of, given=lambda colour: (colour,))


@query
def odd(db: Database, colour: str) -> int:
    return sum(parities(db, colour).values())


@query
def first(db: Database, colour: str) -> int:
    present = names(db, colour)
    return parity_of(db, present[0], colour) if present else -1


@query
def summary(db: Database) -> tuple[int, ...]:
    return first(db, "red"), odd(db, "red"), odd(db, "blue"), first(db, "blue")


def db_with(**balls: Ball) -> Database:
    db = Database(indexes=[by_colour])
    db.apply(Change(Ball, name, ball) for name, ball in balls.items())
    return db


def ran(db: Database) -> list[str]:
    return [repr(memo) for memo in db.executed]


def test_equal_results_stop_a_change() -> None:
    db = db_with(a=Ball("red", 1), b=Ball("blue", 2))
    watch = db.watch(summary)
    assert watch.value == (1, 1, 0, 0)
    assert db.apply([Change(Ball, "a", Ball("red", 3))]) == [watch]
    assert watch.value == (1, 1, 0, 0)
    assert ran(db) == ["parity(a)"]


def test_a_change_elsewhere_reaches_nothing() -> None:
    db = db_with(a=Ball("red", 1), b=Ball("green", 2))
    watch = db.watch(summary)
    assert watch.value == (1, 1, 0, -1)
    assert db.apply([Change(Ball, "b", Ball("green", 3))]) == []
    assert watch.value == (1, 1, 0, -1)
    assert ran(db) == []


def test_only_the_changed_entry_is_patched() -> None:
    db = db_with(**{f"n{i}": Ball("red", i) for i in range(9)})
    watch = db.watch(summary)
    assert watch.value == (0, 4, 0, -1)
    db.apply([Change(Ball, "n4", Ball("red", 5))])
    assert watch.value == (0, 5, 0, -1)
    assert ran(db) == [
        "parity(n4)",
        "parity_of(n4, red)",
        "mapped(names, parity_of)(red)",
        "odd(red)",
        "summary()",
    ]


def test_absent_objects_are_dependencies() -> None:
    db = db_with()
    watch = db.watch(parity, "ghost")
    assert watch.value == 0
    assert db.apply([Change(Ball, "ghost", Ball("red", 1))]) == [watch]
    assert watch.value == 1


# Few names, few values, large batches: bugs live where changes coincide.
balls = st.one_of(st.none(), st.builds(Ball, st.sampled_from(["red", "red", "blue"]), st.integers(0, 1)))
steps = st.lists(st.dictionaries(st.sampled_from("abc"), balls, min_size=1), max_size=8)


@given(steps)
@settings(max_examples=600, deadline=None)
def test_incremental_equals_from_scratch(history: list[dict[str, Ball | None]]) -> None:
    db = db_with()
    watch = db.watch(summary)
    facts: dict[str, Ball] = {}
    for batch in history:
        db.apply([Change(Ball, name, ball) for name, ball in batch.items()])
        for name, ball in batch.items():
            facts.pop(name, None) if ball is None else facts.__setitem__(name, ball)
        assert watch.value == summary(db_with(**facts))


def test_two_entries_change_and_one_was_already_seen_by_someone_else() -> None:
    """Found by the property below after its generator was biased to coincidence."""
    db = db_with(a=Ball("red", 0), b=Ball("red", 0))
    watch = db.watch(summary)
    assert watch.value == (0, 0, 0, -1)
    db.apply([Change(Ball, "a", Ball("red", 1)), Change(Ball, "b", Ball("red", 1))])
    assert watch.value == summary(db_with(a=Ball("red", 1), b=Ball("red", 1)))


def test_a_cycle_is_reported_with_its_path() -> None:
    @query
    def a(db: Database) -> int:
        return b(db)

    @query
    def b(db: Database) -> int:
        return a(db)

    with pytest.raises(CycleError, match=r"a\(\) -> b\(\) -> a\(\)"):
        a(Database())


def test_a_failing_query_recovers_when_its_facts_do() -> None:
    @query
    def reciprocal(db: Database) -> float:
        return 1 / (db.get(int, "x") or 0)

    @query
    def doubled(db: Database) -> float:
        return 2 * reciprocal(db)

    db = Database()
    db.apply([Change(int, "x", 2)])
    watch = db.watch(doubled)
    assert watch.value == 1
    [due] = db.apply([Change(int, "x", 0)])
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            assert due.value
    db.apply([Change(int, "x", 4)])
    assert watch.value == 0.5
    assert db.apply([Change(int, "x", 8)]) == [watch]
    assert watch.value == 0.25


def test_sweep_forgets_what_nobody_watches() -> None:
    db = db_with(a=Ball("red", 1))
    watch, same = db.watch(parity, "a"), db.watch(parity, "a")
    assert (watch is same, watch.value) == (True, 1)
    parity(db, "b")
    assert db.sweep() == 1
    watch.close()
    assert db.sweep() == 0, "the second holder still waits"
    same.close()
    assert db.sweep() == 1


def test_the_way_from_a_fact_to_an_answer_is_known() -> None:
    db = db_with(a=Ball("red", 1), b=Ball("blue", 1))
    watch = db.watch(odd, "red")
    assert watch.value == 1
    names_of = {repr(cell) for cell in explain.facts(watch.memo)}
    assert names_of == {"Ball/a", "index of Ball/red"}
    [fact] = [cell for cell in explain.facts(watch.memo) if repr(cell) == "Ball/a"]
    assert [repr(step) for step in explain.way(fact, watch.memo)] == [
        "Ball/a", "parity(a)", "parity_of(a, red)", "mapped(names, parity_of)(red)", "odd(red)",
    ]  # fmt: skip


def test_what_nobody_reads_does_not_grow_until_it_is_swept() -> None:
    db = db_with(a=Ball("red", 1))
    watch, forgotten = db.watch(parity, "a"), db.watch(odd, "red")
    assert (watch.value, forgotten.value) == (1, 1)
    forgotten.close()
    for weight in range(2, 50):
        db.apply([Change(Ball, "a", Ball("red", weight))])
        assert watch.value == weight % 2
    memos = [it for by_args in db._memos.values() for it in by_args.values()]
    assert max(len(it.suspects) + len(it.changed) for it in memos) <= 2
    assert odd(db, "red") == 1
    assert db.sweep() == 4, "from the one that nobody watches down to those which only it had asked"
    assert watch.value == 1
