"""The daemon's log stays small, and whole lines stay whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_TALK = """
import pathlib, sys
from skiff.log import BoundedLog
log = BoundedLog(pathlib.Path(sys.argv[1]), largest=1000)
for number in range(300):
    print(f"line {number}", file=log, flush=True)
"""


def test_it_is_begun_anew_when_it_is_large(tmp_path: Path) -> None:
    path = tmp_path / "daemon.log"
    with path.open("ab") as output:
        subprocess.run([sys.executable, "-c", _TALK, str(path)], stderr=output, check=True)
    now, before = path.read_text().splitlines(), (tmp_path / "daemon.log.old").read_text().splitlines()
    assert path.stat().st_size < 1100
    assert [*before, *now] == [f"line {number}" for number in range(300)][-len([*before, *now]) :]


def test_another_stderr_is_left_alone(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", _TALK, str(tmp_path / "daemon.log")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stderr.count("line") == 300
