"""The demo's table and its last words."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from lateen.demo import live, traffic

if TYPE_CHECKING:
    from conftest import ApiServer

EDGE = traffic.Edge("frontend", "cart", "v1")


def shown(seen: traffic.Flows, sampled: traffic.Flows) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(live.picture(seen, 2.0, sampled))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.finding("mesh N2")
def test_a_latency_without_samples_is_a_dash_and_never_zero() -> None:
    flow = traffic.Flow(requests=10, mutual_tls=10, buckets={10.0: 0.0, float("inf"): 0.0})
    said = shown({EDGE: flow}, {EDGE: flow})
    assert "0 ms" not in said
    assert said.count("–") == 4  # p50 and p99 of the edge and of all


@pytest.mark.finding("mesh N2")
def test_latencies_are_of_all_looks_and_rates_of_the_last() -> None:
    now = traffic.Flow(requests=10, mutual_tls=10)
    earlier = traffic.Flow(requests=40, mutual_tls=40, buckets={100.0: 0.0, 200.0: 20.0, float("inf"): 20.0})
    said = shown({EDGE: now}, {EDGE: earlier})
    assert "5.0" in said
    assert "150 ms" in said


@pytest.mark.finding("issue 7 part 7")
async def test_a_look_without_an_answer_changes_nothing(
    api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lateen.kube.client._FIRST_WAIT_S", 0.01)
    async with api_server.client() as client:  # type: ignore[attr-defined]
        found = await live.looked(client)
        assert found is not None
        assert found[0] == {}
        assert found[1] <= time.monotonic()
        await api_server.stop()
        assert await live.looked(client) is None
