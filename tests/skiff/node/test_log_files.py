"""Who follows a log misses nothing, whatever becomes of the file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from skiff.node import log_files
from skiff.node.log_files import LogFile, end_of, read


async def test_a_follower_hears_every_line_of_a_file_that_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "LARGEST", 2000)
    monkeypatch.setattr(log_files, "_POLL_S", 0.001)
    log, ended = LogFile(tmp_path / "0.log"), asyncio.Event()
    source = asyncio.StreamReader()
    heard: list[bytes] = []

    async def follow() -> None:
        async for part in read(log.path, ended=ended, tail=None, since=None, timestamps=False):
            heard.extend(part.splitlines())

    following = asyncio.ensure_future(follow())
    pumping = asyncio.ensure_future(log.pump("stdout", source, lambda _: None))
    for number in range(200):
        source.feed_data(b"line %d\n" % number)
        while len(heard) <= number - 30:  # slower than the writer, and within what is kept
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
    source.feed_eof()
    await pumping
    log.close()
    ended.set()
    await following
    assert heard == [b"line %d" % number for number in range(200)]


async def test_a_file_that_is_removed_meanwhile_is_an_end(tmp_path: Path) -> None:
    log, ended = LogFile(tmp_path / "0.log"), asyncio.Event()
    parts = read(log.path, ended=ended, tail=None, since=None, timestamps=False)
    log._write("stdout", [b"first"])
    assert await anext(parts) == b"first\n"
    log.path.unlink()
    ended.set()
    assert [it async for it in parts] == []
    log.close()


def test_of_what_a_container_leaves_only_the_end_is_read(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("x" * 10_000 + "end")
    assert end_of(tmp_path / "note", 5) == "xxend"
    assert end_of(tmp_path / "none", 5) == ""
