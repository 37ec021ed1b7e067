"""One file, one order of changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from skiff.store import store as module
from skiff.store.store import GoneError, Store

PODS = ("", "pods")


def pod(name: str, **more: object) -> dict[str, object]:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "n"}, **more}


async def test_objects_and_the_revision_survive_the_process(tmp_path: Path) -> None:
    one = Store(tmp_path / "state.db")
    first = one.put(PODS, pod("a"))
    one.put(PODS, pod("b"))
    one.remove(PODS, "n", "b")
    one.close()
    other = Store(tmp_path / "state.db")
    assert other.all(PODS) == [first]
    assert other.revision == 4
    assert int(other.put(PODS, pod("c"))["metadata"]["resourceVersion"]) == 5
    other.close()


async def test_a_follower_hears_what_came_after_its_revision_in_order() -> None:
    it = Store()
    start = it.revision
    it.put(PODS, pod("a"))
    follower = it.follow(PODS, start)
    it.put(("apps", "deployments"), pod("other"))
    it.put(PODS, pod("a", x=1))
    it.remove(PODS, "n", "a")
    heard = [await follower.next() for _ in range(3)]
    assert [(change.type, change.revision) for change in heard if change] == [
        ("ADDED", 2),
        ("MODIFIED", 4),
        ("DELETED", 5),
    ]
    assert heard[1]
    assert heard[1].previous
    assert heard[1].previous["metadata"]["resourceVersion"] == "2"
    follower.close()
    it.close()


async def test_too_old_a_revision_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_EVENTS", 2)
    it = Store()
    start = it.revision
    for n in range(4):
        it.put(PODS, pod(f"p{n}"))
    with pytest.raises(GoneError):
        it.follow(PODS, start)
    assert it.follow(PODS, it.revision - 2)


async def test_a_follower_that_falls_behind_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_LIMIT", 2)
    it = Store()
    slow = it.follow(PODS, it.revision)
    for n in range(5):
        it.put(PODS, pod(f"p{n}"))
    assert (await slow.next(), await slow.next()) == ((await it_first(it)), None)


async def it_first(it: Store) -> object:
    """The second change: the first was dropped to make room for the end."""
    return list(it._history)[1]
