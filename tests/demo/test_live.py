"""The demo's table and its last words."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lateen.demo import live, traffic

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
