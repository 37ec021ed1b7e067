"""When certificates are asked for: early, again after failures, at once by order; and files never half written."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from lateen.agent import rotation, secrets
from lateen.agent.rotation import Life, Rotation, StepError
from lateen.testing.ads import until


def life(seconds: float) -> Life:
    """Of a certificate made now."""
    return Life(time.time(), time.time() + seconds)


class Ca:
    """Gives what is next in its list; the last one for ever."""

    def __init__(self, *answers: Life | StepError) -> None:
        self.answers, self.asked = list(answers), 0

    async def step(self) -> Life:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, StepError):
            raise answer
        return answer


@pytest.fixture
def running():  # type: ignore[no-untyped-def]
    tasks: list[asyncio.Task[None]] = []

    def start(it: Rotation, kept: Life | None = None) -> Rotation:
        tasks.append(asyncio.ensure_future(it.run(kept)))
        return it

    yield start
    for it in tasks:
        it.cancel()


async def test_a_certificate_comes_at_once_and_is_not_asked_for_again(running) -> None:  # type: ignore[no-untyped-def]
    ca = Ca(life(3600))
    it = running(Rotation(ca.step))
    await asyncio.wait_for(it.ready.wait(), 5)
    assert it.life == ca.answers[0]
    await asyncio.sleep(0.05)
    assert ca.asked == 1


async def test_short_lives_are_renewed_before_their_end(running) -> None:  # type: ignore[no-untyped-def]
    ca = Ca(life(0.2), life(3600))
    it = running(Rotation(ca.step))
    await until(lambda: ca.asked == 2)
    assert it.life == ca.answers[0]


async def test_after_a_failure_it_is_tried_again_and_the_old_one_stays(running) -> None:  # type: ignore[no-untyped-def]
    first = life(0.05)
    ca = Ca(first, StepError("away"), life(3600))
    it = running(Rotation(ca.step))
    await until(lambda: ca.asked == 2)
    assert it.life == first
    await until(lambda: ca.asked == 3)
    await until(lambda: it.life == ca.answers[0])


async def test_an_order_is_answered_with_what_came_of_it(running) -> None:  # type: ignore[no-untyped-def]
    ca = Ca(life(3600), StepError("away"), life(7200))
    it = running(Rotation(ca.step))
    await asyncio.wait_for(it.ready.wait(), 5)
    with pytest.raises(StepError, match="away"):
        await it.now()
    orders = await asyncio.gather(it.now(), it.now())
    assert orders == [ca.answers[0]] * 2
    assert ca.asked == 3


async def test_what_is_kept_is_used(running) -> None:  # type: ignore[no-untyped-def]
    ca = Ca(StepError("away"))
    it = running(Rotation(ca.step), life(3600))
    await asyncio.wait_for(it.ready.wait(), 5)
    assert ca.asked == 0


def test_what_an_earlier_run_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sds"
    monkeypatch.setattr("lateen.envoy.wellknown.SDS_FOLDER", str(folder))
    assert rotation.kept() is None
    secrets.write_identity("chain", "key")
    note = tmp_path / "certificate.json"
    good = life(3600)
    note.write_text(f'{{"not_before": {good.not_before}, "not_after": {good.not_after}}}')
    assert rotation.kept() is None  # no roots yet
    assert not secrets.write_roots("nothing")
    assert secrets.write_roots("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" * 2)
    assert (folder / "ROOTCA.json").read_text().count("BEGIN") == 1
    assert rotation.kept() == good
    note.write_text(f'{{"not_before": {time.time() - 3000}, "not_after": {time.time() + 600}}}')
    assert rotation.kept() is None  # soon over
    note.write_text("[]")
    assert rotation.kept() is None


def test_a_file_is_replaced_as_a_whole_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    secrets.replace(path, "one")
    reader = path.open()
    secrets.replace(path, "two")
    assert (reader.read(), path.read_text()) == ("one", "two")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [it.name for it in path.parent.iterdir()] == ["b.json"]
