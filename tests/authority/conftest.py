"""Every test of this folder that needs an API server has a plain one, and one with a real server's habits."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(params=[None, {"seed": 1}], ids=["plain", "habits"])
def habits(request: pytest.FixtureRequest) -> dict[str, Any] | None:
    """How the API server behaves."""
    found: dict[str, Any] | None = request.param
    return found
