"""How much does each container use, when there are no control groups that count?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skiff.node import usage
from skiff.node.usage import Running, usages
from skiff.settings import Settings

pytestmark = [pytest.mark.root, pytest.mark.finding("issue 7 part 5")]

#: Holds so many MiB, tells when, and waits.
HOLD = "import sys; it = bytearray(b'x') * (int(sys.argv[1]) << 20); print(len(it), flush=True); sys.stdin.read()"


@pytest.fixture
def programs() -> Iterator[list[int]]:
    """Host's pids of programs of 20, 40 and 60 MiB; the last is among the processes of the second, as a debugger is."""
    if os.geteuid():
        pytest.skip("namespaces need root")
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    begun = [_begun([*apart], 20), _begun([*apart], 40)]
    inside = _child(begun[1].pid)
    begun.append(
        _begun(
            ["nsenter", f"--pid=/proc/{inside}/ns/pid", "unshare", "--mount", "--fork", "--kill-child"], 60
        )
    )
    yield [_child(begun[0].pid), inside, _last(begun[2].pid)]
    for it in begun:
        it.kill()
        it.communicate()


def _begun(around: list[str], mib: int) -> subprocess.Popen[str]:
    pipe: Any = subprocess.PIPE
    made = subprocess.Popen(
        [*around, sys.executable, "-c", HOLD, str(mib)], stdin=pipe, stdout=pipe, text=True
    )
    assert made.stdout
    assert made.stdout.readline().strip() == str(mib << 20)
    return made


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _last(pid: int) -> int:
    while Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = _child(pid)
    return pid


def test_each_has_its_own_and_the_machine_is_looked_at_once(
    programs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = []

    class Counted(type(Path())):  # type: ignore[misc]  # the class of paths on this system
        def iterdir(self) -> Any:
            rounds.append(str(self))
            return super().iterdir()

    monkeypatch.setattr(usage, "_PROC", Counted("/proc"))
    running = [Running(str(it), "main", it) for it in programs] * 10
    found = usages(Settings(home=tmp_path), [*running, Running("gone", "main", 2**22 + 1)])
    mib = [it.memory_bytes / 2**20 for it in found]
    assert all(most > wanted for most, wanted in zip(mib, [20, 40, 60], strict=False))
    assert all(it < wanted + 20 for it, wanted in zip(mib, [20, 40, 60], strict=False))
    assert found[-1] == (0, 0)
    assert rounds == ["/proc"]
    assert usages(Settings(home=tmp_path), []) == []
