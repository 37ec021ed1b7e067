"""Nothing that a pod's author or a container writes leads out of the container."""

from __future__ import annotations

from pathlib import Path

import pytest

from skiff.node.root import _line, _make


def test_a_path_stays_one_word_of_one_line() -> None:
    line = _line("/a b", "/x\n/.host/etc /mnt none rbind\t#\\", "none", "rbind")
    assert line == "/a\\040b /x\\012/.host/etc\\040/mnt\\040none\\040rbind\\011\\043\\134 none rbind"


def test_places_to_mount_on_are_made_inside_their_volume_only(tmp_path: Path) -> None:
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    volume.mkdir()
    outside.mkdir()
    (volume / "link").symlink_to(outside)
    _make(volume, "a/b", folder=True)
    _make(volume, "c/d", folder=False)
    assert (volume / "a/b").is_dir()
    assert (volume / "c/d").is_file()
    with pytest.raises(OSError, match="leads out of its volume"):
        _make(volume, "link/x", folder=True)
    assert list(outside.iterdir()) == []
