"""What every test may rely on: loud skips, and no way to the outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    loud = pytest.mark.skip(reason="needs root for network namespaces: run as root to test this")
    for item in items:
        if item.get_closest_marker("root") or item.get_closest_marker("mesh"):
            item.add_marker(loud)


@pytest.fixture
def shared() -> Path:
    """Files of Istio and Google that lie beside the checkout; tests that need them skip loudly without."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with Istio's and Google's own files is not here")
    return SHARED
