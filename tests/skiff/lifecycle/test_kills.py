"""Does a kill take anything that somebody was told? The daemon dies at random under writers and watchers."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

CLIENTS = Path(__file__).parent / "clients" / "writers.py"


@pytest.mark.root
@pytest.mark.finding("skiff 1")
@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.soak)])
def test_nothing_that_was_told_is_lost_or_told_twice(new_cluster: type[Cluster], kills: int) -> None:
    seed = str(time.time_ns())
    chance = random.Random(seed)
    with new_cluster() as it:
        clients = it.process(sys.executable, str(CLIENTS), "https://127.0.0.1:6443", str(it.home), seed)
        for _ in range(kills):
            time.sleep(chance.uniform(0.2, 1.5))
            it.run("kill", f"-{int(signal.SIGKILL)}", (it.home / "daemon.pid").read_text().split()[0])
            it.run("skiff", "start")
        time.sleep(0.5)
        found = json.loads(clients.communicate("enough\n", timeout=120)[0].splitlines()[-1])
    print(f"seed {seed}, {kills} kills: {found}")
    assert not found["wrong"], (seed, found)
    assert found["acknowledged"] > kills * 50
    assert found["unknown"] >= kills
    assert found["events"] > kills * 50
