"""What does the demo leave behind, and what does it say, when it cannot go on or is not alone?"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lateen.demo.commands import Machine

pytestmark = [pytest.mark.mesh, pytest.mark.root]


def argv(home: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "lateen.cli.main", "demo", "--check", "--home", str(home))


def test_a_step_that_fails_is_told_by_the_exit_code_and_leaves_nothing(machine: Machine) -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    try:
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        done = machine.result(*nobody, *argv(folder / "demo"), check=False)
        assert done.returncode == 1
        assert "FAIL A1" in done.stdout
        assert "network namespaces need root" in done.stdout
        assert "failed: A1" in done.stdout
        assert not (folder / "demo").exists()
    finally:
        shutil.rmtree(folder)


@pytest.mark.finding("mesh N2")
def test_it_runs_beside_a_cluster_of_the_users_and_leaves_that_alone(
    machine: Machine, tmp_path: Path
) -> None:
    before, home = machine.run("ip", "netns", "list"), tmp_path / "second"
    with subprocess.Popen(argv(home), env=machine.environment, stdout=subprocess.PIPE, text=True) as second:
        assert second.stdout is not None
        said = second.stdout.readline()
        assert said.startswith("PASS A1"), said
        assert machine.run("ip", "netns", "list") == before
        assert machine.objects("nodes")
        os.kill(second.pid, signal.SIGINT)
        rest = second.stdout.read()
        assert second.wait() == 1
    assert re.search(r"interrupted: cleaning up\nPASS A0", rest), rest
    assert not home.exists()
    assert machine.run("ip", "netns", "list") == before
    assert machine.objects("nodes")
