"""Who follows a log misses nothing, whatever becomes of the file."""

from __future__ import annotations

import asyncio
import time
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
    log._write("stdout", b"first")
    assert await anext(parts) == b"first\n"
    log.path.unlink()
    ended.set()
    assert [it async for it in parts] == []
    log.close()


def test_of_what_a_container_leaves_only_the_end_is_read(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("x" * 10_000 + "end")
    assert end_of(tmp_path / "note", 5) == "xxend"
    assert end_of(tmp_path / "none", 5) == ""


@pytest.mark.finding("issue 7 redteam")
async def test_who_says_much_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty programs that write empty lines as fast as they can: what they cost together is a part of the daemon's time."""
    written = [0.0]
    write = LogFile._write

    def measured(self: LogFile, stream: str, lines: bytes) -> None:
        begun = time.monotonic()
        write(self, stream, lines)
        written[0] += time.monotonic() - begun

    class Endless:
        async def read(self, size: int) -> bytes:
            return b"\n" * size

    monkeypatch.setattr(LogFile, "_write", measured)
    logs = [LogFile(tmp_path / str(number) / "0.log") for number in range(20)]
    pumps = [asyncio.ensure_future(it.pump("stdout", Endless(), lambda _: None)) for it in logs]
    begun = time.monotonic()
    await asyncio.sleep(1)
    share = written[0] / (time.monotonic() - begun)
    for it in pumps:
        it.cancel()
    await asyncio.gather(*pumps, return_exceptions=True)
    for log in logs:
        log.close()
    assert 0 < share < 0.5
    first = (tmp_path / "0" / "0.log").read_bytes().splitlines()
    assert all(line.endswith(b"Z stdout F ") for line in first)


@pytest.mark.finding("issue 7 redteam")
async def test_the_end_of_a_log_is_found_in_both_of_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read from the end, in pieces: a hundred readers of twenty megabytes hold none of it in memory."""
    monkeypatch.setattr(log_files, "LARGEST", 3000)
    monkeypatch.setattr(log_files, "_READ", 256)
    log = LogFile(tmp_path / "0.log")
    said = [b"%d %s" % (number, b"x" * (number % 40)) for number in range(97)]
    for line in said:
        log._write("stdout", line)

    async def lines(tail: int | None) -> list[bytes]:
        parts = read(log.path, ended=None, tail=tail, since=None, timestamps=False)
        return [line async for part in parts for line in part.splitlines()]

    kept = await lines(None)
    assert log.path.with_suffix(".old").exists()
    assert kept == said[-len(kept) :]
    for tail in range(len(kept) + 3):
        assert await lines(tail) == (kept[-tail:] if tail else [])
    assert log_files.last_lines(log.path, 2).splitlines() == [it.decode() for it in said[-2:]]
    log.close()
    log_files.remove(log.path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.finding("issue 7 redteam")
async def test_what_waited_for_its_turn_is_written_when_the_daemon_leaves(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "0.log")
    source = asyncio.StreamReader()
    async with log_files._turn(1 << 20):  # somebody else's
        pumping = asyncio.ensure_future(log.pump("stdout", source, lambda _: None))
        source.feed_data(b"y\n" * 10_000)
        await asyncio.sleep(0.01)
        assert not log.path.read_bytes()
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)
    assert log.path.read_bytes().count(b"F y\n") == 10_000
    log.close()
