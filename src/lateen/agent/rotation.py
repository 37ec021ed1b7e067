"""Is the certificate fresh? Asks for one at the start and well before its end, and keeps the trusted roots current."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from lateen.agent import secrets, settings
from lateen.envoy import wellknown
from lateen.pki import rotation

_log = logging.getLogger("certificates")

_STEP = (sys.executable, "-m", "lateen.agent.certificate_step")
_STEP_S = 45.0
#: Clocks may jump and machines sleep: look again at least so often.
_LONGEST_SLEEP_S = 300.0
_ROOTS_EVERY_S = 2.0
#: Over how long pods spread their requests for a new certificate when the roots change.
_SPREAD_S = 5.0
#: What an earlier run of this container left is used when this much of its life is ahead.
_STILL_GOOD = 1 / 3


class StepError(Exception):
    """There is no new certificate; the message is the reason."""


class Life(NamedTuple):
    """Of a certificate, in seconds since 1970."""

    not_before: float
    not_after: float


#: Gets a certificate; StepError.
Step = Callable[[], Awaitable[Life]]


class Rotation:
    """The pod's certificate over time."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.life: Life | None = None
        self.ready = asyncio.Event()
        self._asked = asyncio.Event()
        self._waiting: list[asyncio.Future[Life]] = []

    async def now(self) -> Life:
        """A new certificate at once, whatever the age of the old; StepError."""
        waiting: asyncio.Future[Life] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self.soon()
        return await waiting

    def soon(self) -> None:
        """A new certificate at once; a failure is told and tried again, as any."""
        self._asked.set()

    async def run(self, kept: Life | None = None) -> None:
        """Until cancelled; ``kept`` is what an earlier run has left."""
        attempt = 0
        if kept:
            self._have(kept)
        due = self._due()
        while True:
            await self._until(due)
            self._asked.clear()
            waiting, self._waiting = self._waiting, []
            try:
                self._have(await self._step())
                attempt, due = 0, self._due()
                _log.info("a new certificate, valid until %s", _shown(self.life))
            except StepError as wrong:
                attempt += 1
                due = time.time() + rotation.retry(attempt, random.random()).total_seconds()
                _log.warning("%s; it is tried again in %.0f s", wrong, due - time.time())
                _answer(waiting, wrong)
            else:
                _answer(waiting, self.life)

    def _have(self, life: Life) -> None:
        self.life = life
        self.ready.set()

    def _due(self) -> float:
        """When to renew, in seconds since 1970."""
        if self.life is None:
            return 0.0
        begin, end = (datetime.fromtimestamp(it, UTC) for it in self.life)
        return rotation.renewal(begin, end, datetime.now(UTC), random.random()).timestamp()

    async def _until(self, moment: float) -> None:
        while not self._asked.is_set() and (left := moment - time.time()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), min(left, _LONGEST_SLEEP_S))


def _answer(waiting: list[asyncio.Future[Life]], with_: Life | StepError | None) -> None:
    for it in waiting:
        if it.done():
            continue
        if isinstance(with_, StepError):
            it.set_exception(with_)
        elif with_ is not None:
            it.set_result(with_)


def _shown(life: Life | None) -> str:
    return datetime.fromtimestamp(life.not_after, UTC).isoformat(timespec="seconds") if life else "-"


def _note() -> Path:
    return Path(wellknown.SDS_FOLDER).with_name("certificate.json")


async def step() -> Life:
    """The short-lived process; see ``certificate_step``. StepError whatever goes wrong: the agent must outlive it."""
    try:
        async with asyncio.timeout(_STEP_S):
            life = Life(**json.loads(await _stepped()))
        secrets.replace(_note(), json.dumps(life._asdict()))
    except TimeoutError:
        raise StepError(f"the certificate step did not end within {_STEP_S:.0f} s") from None
    except (OSError, ValueError, TypeError) as wrong:
        raise StepError(f"the certificate step failed: {wrong}") from wrong
    return life


async def _stepped() -> bytes:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*_STEP, stdout=pipe, stderr=pipe)
    try:
        said, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        lines = complaint.decode(errors="replace").strip().splitlines()
        raise StepError(lines[-1] if lines else f"the certificate step ended with {process.returncode}")
    return said


def kept() -> Life | None:
    """Of the certificate which an earlier run of this container has left, if it is good for a while."""
    try:
        life = Life(**json.loads(_note().read_text()))
        there = all(
            Path(wellknown.secret_path(it)).exists()
            for it in (wellknown.WORKLOAD_SECRET, wellknown.ROOT_SECRET)
        )
    except (OSError, ValueError, TypeError):
        return None
    long = (life.not_after - life.not_before) * _STILL_GOOD
    return life if there and life.not_after - time.time() > long else None


async def follow_roots(changed: Callable[[], None], path: str = settings.ROOTS) -> None:
    """Hand a changed bundle to Envoy, until cancelled. Kubernetes renews the file without a sign.

    ``changed`` is called then, soon, but not by all pods at once: who does not trust the root of our certificate any more
    talks to us no longer.
    """
    seen, trusted = (0, 0), ""
    while True:
        # It may be gone for a moment, or be no text: nothing is taken away.
        with contextlib.suppress(OSError, ValueError):
            found = Path(path).stat()
            mark = (found.st_ino, found.st_mtime_ns)
            if mark != seen and secrets.write_roots(roots := Path(path).read_text()):
                if trusted and roots != trusted:
                    _log.info("the trusted roots have changed")
                    asyncio.get_running_loop().call_later(random.uniform(0, _SPREAD_S), changed)
                seen, trusted = mark, roots
        await asyncio.sleep(_ROOTS_EVERY_S)
