"""One file, one order of changes."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from skiff.errors import ApiError
from skiff.store import file, history
from skiff.store import store as module
from skiff.store.file import DatabaseError
from skiff.store.history import GoneError
from skiff.store.store import Store

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
    monkeypatch.setattr(history, "KEPT_CHANGES", 2)
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
    monkeypatch.setattr(history, limit, least)
    it = Store()
    slow, quick, other = (it.follow(storage, it.revision) for storage in (PODS, PODS, ("", "secrets")))
    for n in range(5):
        it.put(PODS, pod(f"p{n}"))
        assert (await quick.next()) is not None
    assert await slow.next() is None
    it.put(("", "secrets"), pod("s"))
    assert not quick.waiting
    assert other.waiting


@pytest.mark.finding("issue 7 part 1")
async def test_while_a_commit_waits_nobody_sees_what_it_brings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_LOCK_MS", 60_000)
    path = tmp_path / "state.db"
    it = Store(path)
    old = it.put(PODS, pod("a"))
    await it.settled(it.mark())
    follower = it.follow(PODS, it.committed)
    somebody = sqlite3.connect(path, isolation_level=None)
    somebody.execute("BEGIN IMMEDIATE")
    new = it.put(PODS, pod("a", x=1))
    it.put(PODS, pod("b"))
    told = asyncio.create_task(it.settled(it.mark()))
    await asyncio.sleep(0.2)
    it.put(PODS, pod("c"))  # while the commit is being made
    assert (it.committed, it.revision) == (2, 5)
    assert it.read_all(PODS) == [it.read(PODS, "n", "a")] == [old]
    assert it.read(PODS, "n", "b") is None
    assert it.all(PODS)[0] == it.get(PODS, "n", "a") == new
    assert not told.done()
    assert not follower.waiting
    somebody.execute("ROLLBACK")
    await told
    assert it.read_all(PODS)[:2] == it.all(PODS)[:2]
    await it.settled(it.mark())
    assert it.read_all(PODS) == it.all(PODS)
    heard = [await follower.next() for _ in range(3)]
    assert [change.revision for change in heard if change] == [3, 4, 5]
    somebody.close()
    it.close()


@pytest.mark.finding("issue 7 part 1")
async def test_what_cannot_be_written_is_undone_with_what_was_built_on_it_and_told(tmp_path: Path) -> None:
    it = Store(tmp_path / "state.db")
    old = it.put(PODS, pod("a"))
    gone = it.put(PODS, pod("gone"))
    await it.settled(it.mark())
    follower, undone = it.follow(PODS, it.committed), []
    it.undone.append(lambda change: undone.append(change.revision))
    heard: dict[str, object] = {"a": old, "gone": gone}  # as one who keeps sums would know it

    def hear(change: history.Change) -> None:
        name = change.object["metadata"]["name"]
        assert heard.get(name) == change.previous
        heard[name] = None if change.type == "DELETED" else change.object

    it.listen(PODS, hear)
    it._file._db.execute(f"PRAGMA max_page_count={it._file._db.execute('PRAGMA page_count').fetchone()[0]}")
    mark = it.mark()
    it.put(PODS, pod("large", text="x" * 100_000))
    it.remove(PODS, "n", "gone")
    await asyncio.sleep(0)  # the commit begins
    it.put(PODS, pod("a", x=1))
    it.put(PODS, pod("b"))
    it.put(PODS, pod("b", x=1))
    with pytest.raises(ApiError, match="database or disk is full") as refused:
        await it.settled(mark)
    assert (refused.value.code, refused.value.details) == (503, {"retryAfterSeconds": 1})
    assert it.trouble == "database or disk is full"
    assert undone == [8, 7, 6, 5, 4]
    assert it.all(PODS) == it.read_all(PODS) == [old, gone]
    assert [known for known in heard.values() if known] == [old, gone]
    assert not follower.waiting
    while it.trouble:  # it is tried again, also when nobody writes
        await asyncio.sleep(0.05)
    with pytest.raises(ApiError):
        await it.settled(mark)  # who began before it cannot know
    made = it.put(PODS, pod("b"))
    await it.settled(it.mark())
    assert made["metadata"]["resourceVersion"] == "9"  # none is given twice
    assert (change := await follower.next())
    assert change.object == made
    it.close()
    again = Store(tmp_path / "state.db")
    assert again.all(PODS) == [old, made, gone]
    assert again.revision == 9
    again.close()


async def test_a_locked_file_costs_writers_their_patience_and_nobody_else_anything(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    it = Store(path)
    somebody = sqlite3.connect(path, isolation_level=None)
    somebody.execute("BEGIN IMMEDIATE")
    it.put(PODS, pod("a"))
    mark, turns = it.mark(), 0
    told = asyncio.create_task(it.settled(mark))
    while not told.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 20
    with pytest.raises(ApiError, match="database is locked"):
        await told
    somebody.execute("ROLLBACK")
    while it.trouble:
        await asyncio.sleep(0.01)
    it.put(PODS, pod("b"))
    await it.settled(it.mark())
    assert somebody.execute("SELECT name FROM object").fetchall() == [("b",)]
    somebody.close()
    it.close()


async def test_a_commit_that_takes_too_long_is_told_and_no_more_than_a_bound_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_LOCK_MS", 60_000)
    monkeypatch.setattr(module, "COMMIT_S", 0.1)
    monkeypatch.setattr(module, "PENDING_BYTES", 1000)
    it = Store(tmp_path / "state.db")
    somebody = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    somebody.execute("BEGIN IMMEDIATE")
    it.put(PODS, pod("a"))
    with pytest.raises(ApiError, match="may still be kept") as late:
        await it.settled(it.mark())
    assert late.value.code == 504
    it.put(PODS, pod("b", text="x" * 2000))
    with pytest.raises(ApiError, match="too much waits"):
        it.put(PODS, pod("c"))
    somebody.execute("ROLLBACK")
    while it.committed != it.revision:
        await asyncio.sleep(0.01)
    assert [found["metadata"]["name"] for found in it.read_all(PODS)] == ["a", "b"]
    it.put(PODS, pod("c"))
    somebody.close()
    it.close()


async def test_who_goes_away_while_waiting_takes_nobody_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_LOCK_MS", 60_000)
    it = Store(tmp_path / "state.db")
    somebody = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    somebody.execute("BEGIN IMMEDIATE")
    it.put(PODS, pod("a"))
    first, other = (asyncio.create_task(it.settled(it.mark())) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    somebody.execute("ROLLBACK")
    await other
    assert first.cancelled()
    somebody.close()
    it.close()


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 5] = b"\x5a" * 8192
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 4096 * 3])


def other_text(path: Path) -> None:
    path.write_text("kind: Config\n" * 500)


def newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=2")
    db.close()


def no_object(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE object SET body = '[1' WHERE name = 'p7'")
    db.close()


def emptied(path: Path) -> None:
    path.with_name(path.name + "-wal").write_bytes(path.read_bytes())
    path.write_bytes(b"")


@pytest.mark.finding("issue 7 part 1")
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (damaged, "malformed"), (cut, "malformed"), (other_text, "file is not a database"), (no_object, "Expected `object`"),
        (newer, "written by a newer skiff .format 2, this one knows 1.: nothing was changed"),
        (emptied, "it is empty or missing, but its log is there"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_told_and_left_as_it_is(
    tmp_path: Path, harm: Callable[[Path], None], told: str
) -> None:
    path = tmp_path / "state.db"
    store = Store(path)
    for number in range(60):
        store.put(PODS, pod(f"p{number}", pad="x" * 300))
    store.close()
    harm(path)
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match=told) as refused:
        Store(path)
    assert str(path) in str(refused.value)
    assert "skiff delete" in str(refused.value)
    assert path.read_bytes() == before


def test_a_copy_can_be_made_of_a_file_in_use(tmp_path: Path) -> None:
    """As docs/skiff.md says."""
    store = Store(tmp_path / "state.db")
    made = store.put(PODS, pod("a"))
    somebody = sqlite3.connect(tmp_path / "state.db")
    somebody.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
    somebody.close()
    copy = Store(tmp_path / "copy.db")
    assert (copy.all(PODS), copy.revision) == ([made], store.revision)
    copy.close()
    store.close()


def test_a_file_of_the_first_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = Store(path)
    store.put(PODS, pod("a"))
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=0")  # before formats had numbers
    db.close()
    again = Store(path)
    assert [it["metadata"]["name"] for it in again.all(PODS)] == ["a"]
    again.close()


WRITER = """
import asyncio, pathlib, sys
from skiff.store.store import Store
async def main():
    store = Store(pathlib.Path(sys.argv[1]))
    number = 0
    while True:
        mark = store.mark()
        for _ in range(7):  # one transaction
            number += 1
            store.put(("", "pods"), {"kind": "Pod", "metadata": {"name": f"p{number % 50}", "namespace": "n"}, "number": number, "pad": "x" * 500})
        await store.settled(mark)
        print(number, flush=True)
asyncio.run(main())
"""


@pytest.mark.finding("skiff 1")
def test_a_kill_in_the_middle_of_writing_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """What is read afterwards is what was written up to some moment between two transactions, and can be written on."""
    path = tmp_path / "state.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    while writer.stdout.readline() != "700\n":
        assert writer.poll() is None
    writer.kill()
    acknowledged = int((writer.communicate()[0].split() or ["700"])[-1])
    store = Store(path)
    numbers = sorted(int(it["number"]) for it in store.all(PODS))
    assert numbers[-1] >= acknowledged
    assert numbers == list(range(numbers[-1] - 49, numbers[-1] + 1))
    assert numbers[-1] % 7 == 0
    assert store.revision == numbers[-1] + 1
    assert max(int(it["metadata"]["resourceVersion"]) for it in store.all(PODS)) == store.revision
    store.put(PODS, pod("after"))
    store.close()
    assert Store(path).get(PODS, "n", "after")
