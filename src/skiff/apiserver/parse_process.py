"""The process that reads large bodies: frames on its standard input, frames on its standard output.

Nothing in Python can end work that runs in a thread, and pure Python in a thread holds up the loop. A process can be ended.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import struct
import sys
from typing import BinaryIO

import msgspec

from skiff.apiserver.parse import Form, parse
from skiff.errors import ApiError

HEAD = struct.Struct(">I")
#: A body of 3 MiB of the worst JSON takes some 300 MiB while it is read.
MOST_MEMORY = 768 * 1024 * 1024
#: The loop that serves everybody comes first.
_NICENESS = 5


class Task(msgspec.Struct, array_like=True):
    """A body."""

    form: str
    twice: bool
    raw: bytes


class Reply(msgspec.Struct, array_like=True):
    """Its value as JSON, what else there is to say, or a refusal."""

    value: bytes
    twice: list[str]
    unknown: list[str]
    code: int = 0
    reason: str = ""
    message: str = ""


def main() -> None:
    """``python -m skiff.apiserver.parse_process SECONDS``: work until standard input ends."""
    limit_s = float(sys.argv[1])
    tasks, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed by mistake is not taken for a frame
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: our parent hears it, and closes our input
    gc.disable()  # a value has no cycles, and looking for them takes longer than reading
    while raw := _frame(tasks):
        signal.setitimer(signal.ITIMER_REAL, limit_s + 1.0)  # our parent, which watches the time, may be gone
        encoded = msgspec.msgpack.encode(_reply(msgspec.msgpack.decode(raw, type=Task)))
        signal.setitimer(signal.ITIMER_REAL, 0)
        replies.write(HEAD.pack(len(encoded)) + encoded)
        replies.flush()


def _reply(task: Task) -> Reply:
    try:
        made = parse(Form(task.form), task.raw, twice=task.twice)
        return Reply(msgspec.json.encode(made.value), made.twice, made.unknown)
    except ApiError as refused:
        return Reply(b"", [], [], refused.code, refused.reason, refused.message)
    except (ValueError, OverflowError, RecursionError) as wrong:  # what JSON cannot say
        return Reply(b"", [], [], 400, "BadRequest", f"the object provided is unrecognized: {wrong}")
    except MemoryError:
        return Reply(b"", [], [], 413, "RequestEntityTooLarge", "the object needs too much memory")


def _frame(stream: BinaryIO) -> bytes:
    head = stream.read(HEAD.size)
    return stream.read(HEAD.unpack(head)[0]) if len(head) == HEAD.size else b""


if __name__ == "__main__":
    main()
