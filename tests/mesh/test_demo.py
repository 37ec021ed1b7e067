"""What does the demo leave behind, and what does it say, when it cannot go on?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lateen.demo.commands import Machine

pytestmark = [pytest.mark.mesh, pytest.mark.root]


def demo(machine: Machine, home: Path) -> tuple[int, str]:
    """(exit code, output) of a demo beside a cluster that runs."""
    argv = (sys.executable, "-m", "lateen.cli.main", "demo", "--check", "--home", str(home))
    done = machine.result(*argv, check=False)
    return done.returncode, done.stdout


def test_a_step_that_fails_is_told_by_the_exit_code_and_harms_no_other_cluster(
    machine: Machine, tmp_path: Path
) -> None:
    before = machine.run("ip", "netns", "list")
    code, said = demo(machine, tmp_path / "second")
    assert code == 1
    assert "FAIL A1" in said
    assert "another cluster runs on this machine" in said
    assert "failed: A1" in said
    assert not (tmp_path / "second").exists()
    assert machine.run("ip", "netns", "list") == before
    assert machine.objects("nodes")
