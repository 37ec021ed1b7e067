"""Do tests get a cluster, and does it leave nothing behind?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root


def test_a_cluster_of_its_own_that_ends_without_a_trace(new_cluster: type[Cluster]) -> None:
    with new_cluster() as it:
        assert [node["metadata"]["name"] for node in it.objects("nodes")] == ["skiff"]
        assert "-node" in it.run("ip", "netns", "list").stdout
        marks = str(it.home).encode()
        assert _mentions(marks)
    assert not _mentions(marks)
    assert not it.folder.exists()


def _mentions(mark: bytes) -> list[str]:
    found = []
    for it in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in it.read_bytes():
                found.append(it.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.finding("security 26")
def test_what_may_hold_secrets_is_for_root_only(cluster: Cluster) -> None:
    """The folder is closed, but somebody may copy it, or open it."""
    open_to_others = [
        it.name for it in cluster.home.iterdir()
        if it.is_file() and it.stat().st_mode & 0o077 and it.name in ("cluster.db", "cluster.db-wal", "cluster.db-shm", "daemon.log")
    ]  # fmt: skip
    assert not open_to_others
    assert (cluster.home / "cluster.db").exists()
