"""Fixtures of pytest: ``pytest_plugins = ["skiff.testing.fixtures"]`` in a conftest.py brings them.

They need root, as skiff does, and are skipped without.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from skiff.testing.cluster import Cluster


def _need_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("a cluster needs network namespaces, and they need root: run the tests with sudo")


@pytest.fixture(scope="session")
def skiff_cluster() -> Iterator[Cluster]:
    """A running cluster for the whole session, in a network of its own."""
    _need_root()
    with Cluster() as made:
        yield made


@pytest.fixture(scope="session")
def realistic_cluster() -> Iterator[Cluster]:
    """The same, as slow, late and unreliable as a busy one; SKIFF_SEED says by which chances."""
    _need_root()
    with Cluster("--realistic") as made:
        yield made
