"""Where is evaluated what may take long? In a process that can be ended: no expression holds up the cluster or its memory."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import resource
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from skiff.admission.cel.program import CelError

T = TypeVar("T")

SECONDS = 10.0
_MEMORY = 2 * 2**30
_at_once = asyncio.Semaphore(2)
EXCEEDED = "operation cancelled: actual cost limit exceeded"


async def run(function: Callable[..., T], *arguments: Any) -> T:
    """What a function of a module answers; CelError when that takes too long or too much."""
    asked = pickle.dumps((function, arguments))
    async with _at_once:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "skiff.admission.cel.aside", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )  # fmt: skip
        try:
            async with asyncio.timeout(SECONDS):
                answer, _ = await process.communicate(asked)
        except TimeoutError as late:
            raise CelError(EXCEEDED) from late
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    if not answer:
        raise CelError(EXCEEDED)  # by the limit of its memory or time
    made: T = pickle.loads(answer)  # noqa: S301 - written by our own program below
    return made


def main() -> None:
    """One call, from standard input to standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own daemon wrote it
    sys.stdout.buffer.write(pickle.dumps(function(*arguments)))


if __name__ == "__main__":
    main()
