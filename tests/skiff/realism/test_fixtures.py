"""The fixtures that users get, in a test run of their own (docs/guide/testing.md)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.finding("issue 7 part 7")]

TEST = """
def test_it(skiff_cluster, realistic_cluster):
    for cluster in (skiff_cluster, realistic_cluster):
        assert [it["metadata"]["name"] for it in cluster.objects("nodes")] == ["skiff"]
    cluster.run("skiff", "stop")
    assert "seed=5" in cluster.log()
    assert "seed" not in skiff_cluster.log()
"""


def test_a_user_brings_the_fixtures_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["skiff.testing.fixtures"]\n')
    (tmp_path / "test_user.py").write_text(TEST)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(
        argv, cwd=tmp_path, env={**os.environ, "SKIFF_SEED": "5"}, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
