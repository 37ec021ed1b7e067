"""Writing what differs, whatever happens meanwhile."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from lateen.controllers.mending import Mender


@pytest.mark.finding("architecture 10")
@pytest.mark.parametrize(
    "trouble", [msgspec.DecodeError("an HTML page"), KeyError("name"), RuntimeError("bug")]
)
async def test_whatever_one_name_costs_the_others_are_written(trouble: Exception) -> None:
    written: list[str] = []

    async def mend(name: str) -> None:
        if name == "bad" and "bad" not in written:
            written.append(name)
            raise trouble
        written.append(name)

    it = Mender("thing", mend)
    running = asyncio.ensure_future(it.run())
    try:
        it.look("bad")
        it.look("good")
        async with asyncio.timeout(20):
            while written.count("bad") < 2:
                assert not running.done()
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert written == ["bad", "good", "bad"]
