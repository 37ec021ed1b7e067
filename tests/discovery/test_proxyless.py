"""Programs that speak gRPC without a proxy: ``proxyless.py``, in a network of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.root
def test_programs_without_a_proxy_find_and_follow_their_servers() -> None:
    prepared = 'ip address add 10.77.0.1/32 dev lo; exec "$@"'
    tests = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/discovery/proxyless.py")
    argv = ("tools/isolated", "/bin/sh", "-ec", prepared, "inside", *tests)
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
    assert " passed" in done.stdout
