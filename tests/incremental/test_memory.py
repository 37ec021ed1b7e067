"""What the database remembers does not grow with what happened, and a failing batch leaves no trace."""

from __future__ import annotations

import pytest

from lateen.compile.view import view
from lateen.incremental import Change, Database, Index, query
from lateen.incremental.database import GROWTH
from lateen.names.keys import ObjectKey
from lateen.registry import workloads
from lateen.testing.mesh import changed, mesh, pod, removed, service, sidecar
from lateen.testing.rules import destination_rule


def sizes(db: Database) -> tuple[int, int]:
    return sum(map(len, db._memos.values())), len(db._cells)


@pytest.mark.finding("architecture 6")
def test_three_hundred_edits_leave_no_more_than_one() -> None:
    db = mesh(pod("a", "10.0.0.1", "a"), service("web", {"http": 80}))
    it = sidecar("a", "10.0.0.1")
    db.apply([it])
    watch = db.watch(view, it.key)  # type: ignore[arg-type]
    counts = []
    for number in range(300):
        db.apply(changed(destination_rule(f"subsets: [{{name: s{number}, labels: {{app: web}}}}]")))
        assert watch.value
        if db.grown:
            db.sweep()
        counts.append(sum(sizes(db)))
    assert max(counts[150:]) <= max(counts[:150])
    db.sweep()
    assert sum(sizes(db)) <= counts[0] + GROWTH


@pytest.mark.finding("architecture 6")
def test_who_asks_once_from_outside_leaves_nothing() -> None:
    db = mesh(pod("a", "10.0.0.1", "a"))
    with db.peeking():
        assert workloads.described(db, ObjectKey("default", "a")) is not None
    before = sizes(db)
    for number in range(1000):
        with db.peeking():
            assert workloads.described(db, ObjectKey("default", f"ghost{number}")) is None
    assert sizes(db) == before


def test_what_is_watched_stays_although_a_passer_by_asked_for_it() -> None:
    db = mesh(pod("a", "10.0.0.1", "a"), service("web", {"http": 80}))
    it = sidecar("a", "10.0.0.1")
    db.apply([it])
    watch = db.watch(view, it.key)  # type: ignore[arg-type]
    with db.peeking():
        first = watch.value  # a watch that was never read is read while somebody passes by
    assert watch in db.apply([removed(type(changed(service("web", {"http": 80}))[0].value), "web")])  # type: ignore[arg-type]
    assert watch.value != first


@pytest.mark.finding("architecture 10")
def test_a_batch_with_a_fact_that_cannot_be_listed_changes_nothing() -> None:
    half: Index[str, str] = Index(str, lambda it: [it[0]])  # raises for an empty text

    @query
    def under(db: Database, letter: str) -> tuple[str, ...]:
        return db.keys(half, letter)

    db = Database(indexes=[half])
    db.apply([Change(str, 1, "a1")])
    watch = db.watch(under, "a")
    assert watch.value == (1,)
    with pytest.raises(IndexError):
        db.apply([Change(str, 2, "a2"), Change(str, 3, "")])
    assert (db.get(str, 2), watch.value) == (None, (1,))
    assert db.apply(
        [Change(str, 2, "a2"), Change(str, 2, "b2"), Change(str, 4, "a4"), Change(str, 1, None)]
    ) == [watch]
    assert watch.value == (4,)
    assert under(db, "b") == (2,)
