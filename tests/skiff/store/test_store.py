"""One file, one order of changes."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
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
    monkeypatch.setattr(module, "KEPT_CHANGES", 2)
    it = Store()
    start = it.revision
    for n in range(4):
        it.put(PODS, pod(f"p{n}"))
    with pytest.raises(GoneError):
        it.follow(PODS, start)
    assert it.follow(PODS, it.revision - 2)


@pytest.mark.parametrize(("limit", "least"), [("KEPT_CHANGES", 2), ("KEPT_BYTES", 200)])
async def test_a_follower_that_falls_behind_is_ended(
    monkeypatch: pytest.MonkeyPatch, limit: str, least: int
) -> None:
    """What one slow reader has not read yet is no longer kept than the history is."""
    monkeypatch.setattr(module, limit, least)
    it = Store()
    slow, quick, other = (it.follow(storage, it.revision) for storage in (PODS, PODS, ("", "secrets")))
    for n in range(5):
        it.put(PODS, pod(f"p{n}"))
        assert (await quick.next()) is not None
    assert await slow.next() is None
    it.put(("", "secrets"), pod("s"))
    assert not quick.waiting
    assert other.waiting


async def test_a_locked_file_is_written_later_and_nobody_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    it = Store(path)
    somebody = sqlite3.connect(path, isolation_level=None)
    somebody.execute("BEGIN IMMEDIATE")
    it.put(PODS, pod("a"))
    await asyncio.sleep(0)  # one turn of the loop
    assert it.trouble == "database is locked"
    it.put(PODS, pod("b"))
    it.remove(PODS, "n", "a")
    assert [found["metadata"]["name"] for found in it.all(PODS)] == ["b"]
    somebody.execute("ROLLBACK")
    while it.trouble:
        await asyncio.sleep(0.01)
    assert somebody.execute("SELECT name FROM object").fetchall() == [("b",)]
    somebody.close()
    it.close()


async def test_a_full_disk_is_told_and_costs_nothing_that_can_still_be_kept(tmp_path: Path) -> None:
    it = Store(tmp_path / "state.db")
    it.put(PODS, pod("a"))
    it.commit()
    it._db.execute(f"PRAGMA max_page_count={it._db.execute('PRAGMA page_count').fetchone()[0]}")
    it.put(PODS, pod("large", text="x" * 100_000))
    it.commit()
    assert it.trouble == "database or disk is full"
    it.remove(PODS, "n", "large")
    it.put(PODS, pod("b"))
    it.commit()
    assert not it.trouble
    it.close()
    assert [found["metadata"]["name"] for found in Store(tmp_path / "state.db").all(PODS)] == ["a", "b"]


WRITER = """
import asyncio, pathlib, sys
from skiff.store.store import Store
async def main():
    store = Store(pathlib.Path(sys.argv[1]))
    number = 0
    while True:
        for _ in range(7):  # one transaction
            number += 1
            store.put(("", "pods"), {"kind": "Pod", "metadata": {"name": f"p{number % 50}", "namespace": "n"}, "number": number, "pad": "x" * 500})
        if number == 700: print("many", flush=True)
        await asyncio.sleep(0)
asyncio.run(main())
"""


def test_a_kill_in_the_middle_of_writing_loses_no_more_than_the_end(tmp_path: Path) -> None:
    """What is read afterwards is what was written up to some moment between two transactions, and can be written on."""
    path = tmp_path / "state.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    assert writer.stdout.readline() == "many\n"
    writer.kill()
    writer.communicate()
    store = Store(path)
    numbers = sorted(int(it["number"]) for it in store.all(PODS))
    assert len(numbers) == 50
    assert numbers == list(range(numbers[-1] - 49, numbers[-1] + 1))
    assert numbers[-1] % 7 == 0
    assert store.revision == numbers[-1] + 1
    assert max(int(it["metadata"]["resourceVersion"]) for it in store.all(PODS)) == store.revision
    store.put(PODS, pod("after"))
    store.close()
    assert Store(path).get(PODS, "n", "after")
