"""The thread that ends transactions: in order, with every fault told to who asked, and gone when it is closed."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest

from skiff.store.writer import Commit, Writer

pytestmark = pytest.mark.finding("issue 7 part 9")


def test_all_is_done_in_order_and_told_in_the_loop() -> None:
    done: list[int] = []
    told: list[int] = []

    async def run() -> None:
        writer, over = Writer(), asyncio.Event()

        def tell(number: int) -> None:
            assert threading.current_thread() is threading.main_thread()
            told.append(number)
            if len(told) == 100:
                over.set()

        for it in range(100):
            writer.submit(lambda it=it: done.append(it), lambda _, it=it: tell(it))  # type: ignore[misc]
        async with asyncio.timeout(30):
            await over.wait()
        writer.close()

    asyncio.run(run())
    assert done == told == list(range(100))
    assert "store" not in [it.name for it in threading.enumerate()]


def test_what_goes_wrong_is_told_and_stops_nothing() -> None:
    async def run() -> list[BaseException | None]:
        writer, heard = Writer(), asyncio.Queue[Commit]()

        def fail() -> None:
            raise sqlite3.OperationalError("disk full")

        made = [writer.submit(fail, heard.put_nowait), writer.submit(lambda: None, heard.put_nowait)]
        async with asyncio.timeout(30):
            found = [await heard.get() for _ in made]
        writer.close()
        assert found == made
        return [it.wrong for it in found]

    wrong, fine = asyncio.run(run())
    assert str(wrong) == "disk full"
    assert fine is None


def test_somebody_may_wait_for_it_outside_of_the_loop() -> None:
    async def run() -> None:
        writer, gate = Writer(), threading.Event()
        made = writer.submit(lambda: gate.wait(30) and None, lambda _: None)
        threading.Timer(0.05, gate.set).start()
        made.wait()
        assert gate.is_set()
        writer.close()

    asyncio.run(run())
