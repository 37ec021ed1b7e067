"""What proxies share is what each would have alone: views without sharing are byte-equal to the shared ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, given, settings

from lateen.compile.callers import caller
from lateen.compile.horizons import Caller, Horizon, horizon
from lateen.compile.view import view
from lateen.envoy.resource import View
from lateen.incremental import Change, Database
from lateen.names.labels import Labels
from lateen.registry.facts import new_database
from lateen.testing.worlds import KEYS, PROXIES, histories

DEEP = os.environ.get("PROPERTIES") == "deep"


@contextmanager
def nobody_shares() -> Iterator[None]:
    """Each namespace is a world of its own, and every label of a caller may matter."""

    def own(_: Database, namespace: str) -> Horizon:
        return Horizon(namespace)

    def all_of_it(db: Database, namespace: str, labels: Labels) -> Caller:
        return Caller(horizon(db, namespace), namespace, labels)

    asked: Any = (horizon, caller)
    before = [it.pure for it in asked]
    asked[0].pure, asked[1].pure = own, all_of_it
    try:
        yield
    finally:
        for it, pure in zip(asked, before, strict=True):
            it.pure = pure


def views(objects: list[Change]) -> list[View]:
    db = new_database()
    db.apply([*PROXIES, *objects])
    return [view(db, it) for it in KEYS]


@settings(max_examples=1500 if DEEP else 60, deadline=None, derandomize=not DEEP,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much])  # fmt: skip
@given(histories)
def test_sharing_changes_not_a_byte(history: list[list[Change]]) -> None:
    objects = [it for batch in history for it in batch]
    shared = views(objects)
    with nobody_shares():
        alone = views(objects)
    for one, other in zip(shared, alone, strict=True):
        for kind, found in one.items():
            assert {it.name: it.body for it in found.values()} == {
                it.name: it.body for it in other[kind].values()
            }
