"""What may tests of the shop use? A whole one for each worker, and a redis, started when first asked for."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `from shop_programs import ...`: tests are no package

if TYPE_CHECKING:
    from shop_programs import RunningShop


@pytest.fixture(scope="session")
def redis_port() -> Iterator[int]:
    """A real redis-server."""
    from shop_programs import redis_server

    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed: apt-get install redis-server to test the carts")
    with redis_server() as port:
        yield port


@pytest.fixture(scope="session")
def shop(redis_port: int) -> Iterator[RunningShop]:
    """All services but the load generator, for tests which only look and buy."""
    from shop_programs import whole_shop

    with whole_shop(redis_port) as running:
        yield running
