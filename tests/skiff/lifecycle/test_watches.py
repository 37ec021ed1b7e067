"""Is the machine's limit for watching files raised when it is too low, and put back?"""

from __future__ import annotations

from pathlib import Path

import pytest

from skiff import watches


@pytest.fixture
def limit(tmp_path: Path) -> Path:
    it = tmp_path / "max_user_instances"
    it.write_text("128\n")
    return it


def test_a_low_limit_is_raised_and_put_back(tmp_path: Path, limit: Path) -> None:
    said = watches.allow(tmp_path, limit)
    assert said == f"fs.inotify.max_user_instances raised from 128 to {watches.ENOUGH}, until `skiff delete`"
    assert watches.allow(tmp_path, limit) == ""  # the next start
    watches.put_back(tmp_path, limit)
    assert limit.read_text() == "128\n"


def test_a_limit_that_is_enough_or_was_changed_since_stays(tmp_path: Path, limit: Path) -> None:
    watches.put_back(tmp_path, limit)
    assert limit.read_text() == "128\n"
    watches.allow(tmp_path, limit)
    limit.write_text("4096\n")
    assert watches.allow(tmp_path, limit) == ""
    watches.put_back(tmp_path, limit)
    assert limit.read_text() == "4096\n"


def test_what_cannot_be_raised_is_told(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.symlink_to("/proc/self/stat")
    assert watches.allow(tmp_path, closed) == ""  # no number at all
    refusing = Path("/proc/sys/kernel/cap_last_cap")  # a number that root cannot write either
    assert "cannot be raised here" in watches.allow(tmp_path, refusing)
