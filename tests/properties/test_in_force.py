"""Views of random meshes, one after the other, in real Envoys: nothing is refused, and all of it comes into force."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from lateen.incremental import Change
from lateen.testing.traffic import TrafficMesh
from lateen.testing.worlds import batches

DEEP = os.environ.get("PROPERTIES") == "deep"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrafficMesh]:
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces: run as root to test this")
    made = TrafficMesh(tmp_path_factory.mktemp("mesh"))
    try:
        made.outside = {"example.com": "203.0.113.10"}
        made.pod("seen", "10.244.0.10", {"app": "x"}, namespace="a")
        made.pod("gateway", "10.244.0.20", {"istio": "gateway"}, namespace="istio-system", kind="router")
        made.settle()
        yield made
    finally:
        made.close()


@pytest.mark.finding("architecture 4")
def test_nothing_is_refused(mesh: TrafficMesh) -> None:
    @settings(max_examples=200 if DEEP else 20, deadline=None, derandomize=True, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(batches)
    def in_force(world: list[Change]) -> None:
        mesh.replace(world)
        mesh.settle()

    in_force()
