"""Every command of the guide does what the guide says: it runs, in order, on a real mesh."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lateen.demo.commands import Machine

pytestmark = [pytest.mark.mesh, pytest.mark.root]

ROOT = Path(__file__).resolve().parents[2]
GUIDES = sorted((ROOT / "docs" / "guide").glob("*.md"))


def commands(text: str) -> list[list[str]]:
    """The lines behind a ``$`` of all console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda it: it.stem)
def test_every_command_runs(machine: Machine, guide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = commands(guide.read_text())
    assert found, "a guide without commands shows nothing"
    for words in found:
        said = machine.run(*words, timeout_s=200)
        assert said.strip(), f"{shlex.join(words)}: a command of the guide shows something"
