"""What may tests of skiff use? A cluster for each worker, started when first asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `from cluster import Cluster`: tests are no package

if TYPE_CHECKING:
    from cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One running cluster for all tests of a worker: mark them ``root``, and use a namespace of your own."""
    from cluster import Cluster

    with Cluster() as made:
        yield made


@pytest.fixture(scope="session")
def new_cluster() -> type[Cluster]:
    """For tests which stop, break or delete one: ``with new_cluster() as it``."""
    from cluster import Cluster

    return Cluster
