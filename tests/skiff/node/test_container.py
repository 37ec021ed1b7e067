"""Nothing that a pod's author or a container writes leads out of the container."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from skiff.node.beneath import LeadsOutError, make_beneath, open_beneath


def folder(path: Path) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY)


def test_places_are_made_inside_their_volume_only(tmp_path: Path) -> None:
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    volume.mkdir()
    outside.mkdir()
    (volume / "link").symlink_to(outside)
    (volume / "up").symlink_to("..")
    (volume / "inner").symlink_to("a/b")
    opened = folder(volume)
    os.close(make_beneath(opened, "a/b"))
    os.close(make_beneath(opened, "/c/d", file=True))
    os.close(make_beneath(opened, "inner/e", 0o700))
    assert (volume / "a/b/e").stat().st_mode & 0o777 == 0o700
    assert (volume / "c/d").is_file()
    for path in ("link/x", "link", "up/x", "../x", "a/../../x"):
        with pytest.raises(LeadsOutError, match="leads out of its volume"):
            os.close(make_beneath(opened, path))
    os.close(opened)
    assert list(outside.iterdir()) == []
    assert sorted(it.name for it in tmp_path.iterdir()) == ["outside", "volume"]


@pytest.mark.finding("security 3")
def test_a_link_that_comes_and_goes_never_leads_out(tmp_path: Path) -> None:
    """What is opened is in the volume, whatever the name means a moment later: here it changes all the time."""
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    (volume / "d").mkdir(parents=True)
    outside.mkdir()
    (volume / "l").symlink_to(outside)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            (volume / "d").rename(volume / "x")
            (volume / "l").rename(volume / "d")
            (volume / "d").rename(volume / "l")
            (volume / "x").rename(volume / "d")

    swapping = threading.Thread(target=swap)
    swapping.start()
    opened, wanted, refused = folder(volume), outside.stat().st_ino, 0
    try:
        for _ in range(3000):
            try:
                found = open_beneath(opened, "d")
            except OSError:  # it is a link, or not there, at this very moment
                refused += 1
                continue
            assert os.fstat(found).st_ino != wanted
            os.close(found)
    finally:
        over.set()
        swapping.join()
        os.close(opened)
    assert refused
