"""The daemon's log stays small, and whole lines stay whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from skiff.log import Log

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


def test_a_line_is_one_line_whatever_it_tells(capsys: pytest.CaptureFixture[str]) -> None:
    Log().warning("two words", plain="a/b", nothing="", text='a "b"\nc\\', strange="\x1b[2J")
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith("timestamp=2")
    assert line.endswith(
        r''' level=warning event="two words" plain=a/b nothing="" text="a \"b\"\nc\\" strange="\x1b[2J"'''
        "\n"
    )


def test_a_bug_brings_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("of this test")
    except ValueError:
        Log().exception("it failed", key="a")
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "level=error" in line
    assert "Traceback" in line
    assert "ValueError: of this test" in line


@pytest.mark.finding("issue 7 part 9")
def test_the_daemon_imports_nothing_large_that_it_may_never_need() -> None:
    """Memory, and half of the time until a cluster is there."""
    told = "import sys, skiff.daemon; print(*{it.partition('.')[0] for it in sys.modules})"
    found = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "skiff" in found
    large = {
        "structlog",
        "rich",
        "typer",
        "grpc",
        "google",
        "cel_expr_python",
        "prometheus_client",
        "kubernetes",
    }
    assert not large & set(found)
