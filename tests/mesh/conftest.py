"""A whole mesh on a real skiff, once for all tests of this folder. ``make mesh`` runs them in a network of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lateen.demo import steps
from lateen.demo.commands import Machine


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A cluster with the mesh installed and injection on in ``default``; nothing is left afterwards."""
    # A short path: unix sockets of pods may lie below it.
    it = Machine.in_folder(Path(tmp_path_factory.mktemp("m")))
    try:
        steps.cluster_up(it)
        steps.mesh_installed(it)
        steps.injection_on(it)
        yield it
    finally:
        steps.clean(it)
