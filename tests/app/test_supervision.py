"""Parts that fail, and what the liveness probe says of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lateen.app import supervision
from lateen.app.settings import FlagError, Ports, ports
from lateen.app.supervision import RESTARTS, kept
from lateen.testing.ads import until


@pytest.mark.finding("architecture 10")
async def test_a_part_that_fails_is_started_again_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_FIRST_WAIT_S", 0.01)
    lives: list[int] = []

    async def work() -> None:
        lives.append(1)
        if len(lives) == 1:
            raise KeyError("name")
        if len(lives) == 2:
            raise ExceptionGroup("two", [ValueError("x")])
        if len(lives) == 3:
            return
        await asyncio.sleep(60)

    task = asyncio.ensure_future(kept("test", work))
    await until(lambda: len(lives) == 4)
    assert RESTARTS.labels("test")._value.get() == 3
    task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)


@pytest.mark.finding("architecture 10")
async def test_an_unexpected_exception_does_not_end_the_control_plane(
    api_server: Any, install: Any, run: Any, page: Any
) -> None:
    await install()
    async with run() as plane:
        table = plane.source.tables["v1", "services"]
        table.on_list = lambda _: 1 / 0  # whoever starts again meets it again
        plane.loop.put([None])  # what no database can take
        await until(lambda: RESTARTS.labels("loop")._value.get() >= 1)
        assert (await page(plane, "/ready"))[0] == 200
        assert await page(plane, "/live") == (200, "live\n")


@pytest.mark.finding("security 19")
async def test_changes_that_do_not_get_through_are_told_to_the_liveness_probe(
    api_server: Any, install: Any, run: Any, page: Any
) -> None:
    await install()
    async with run() as plane:
        assert await page(plane, "/live") == (200, "live\n")
        plane.loop._inbox, plane.loop._since = [None], 0.0  # and nobody is woken
        status, text = await page(plane, "/live")
        assert (status, "changes have waited for" in text) == (500, True)
        plane.loop._inbox = []


@pytest.mark.finding("security 16")
@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], Ports()), (["discovery", "--grpcAddr="], Ports(plain=None)), (["--grpcAddr", ""], Ports(plain=None)),
        (['--grpcAddr=""'], Ports(plain=None)), (["--grpcAddr=:16010", "--domain", "x"], Ports(plain=16010)),
        (["--monitoringAddr=:1", "--httpsAddr=0.0.0.0:2", "--httpAddr", ":3", "--secureGRPCAddr=:4"], Ports(15010, 4, 1, 2, 3)),
    ],
)  # fmt: skip
def test_ports_are_istios_flags(arguments: list[str], found: Ports) -> None:
    assert ports(arguments) == found


def test_a_flag_that_is_no_address_is_told() -> None:
    with pytest.raises(FlagError, match=r'--httpAddr: "" is no address'):
        ports(["--httpAddr="])


@pytest.mark.finding("security 16")
async def test_a_closed_port_is_closed(api_server: Any, install: Any, run: Any) -> None:
    await install()
    async with run(ports=Ports(None, 0, 0, 0, 0)) as plane:
        assert plane.ports.plain is None
        assert [it.name for it in plane.front._doors] == ["tls-xds"]
