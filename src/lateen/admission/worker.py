"""The process that works on reviews: frames on its standard input, frames on its standard output.

Whoever sends a review decides how much work it is, and nothing in Python can end work that runs in a thread. A process
can be ended, has its own memory bound, and takes no time from the loop that serves proxies.
A frame is its length in four bytes, and its content: to the worker a pickled ``Question`` (it comes from our own parent),
back a ``Reply`` as MessagePack, which cannot run anything in the parent whatever a review may have done to the worker.
"""

from __future__ import annotations

import gc
import os
import pickle
import resource
import signal
import struct
import sys
import traceback
from typing import BinaryIO, NamedTuple

import msgspec

from lateen.admission.review import Answer, Question, answered

HEAD = struct.Struct(">I")
#: What a worker may take: a review of 8 MiB of the worst JSON takes some 400 MiB while it is looked at.
MOST_MEMORY = 512 * 1024 * 1024
#: A worker that has grown beyond this ends after its answer: memory rarely shrinks by itself.
_GROWN_KIB = 192 * 1024
#: The loop that serves proxies comes first.
_NICENESS = 5


class Reply(NamedTuple):
    """An answer, whether it is the worker's last, and the traceback of a bug."""

    answer: Answer
    last: bool
    bug: str = ""


def main() -> None:
    """``python -m lateen.admission.worker SECONDS``: work until standard input ends."""
    limit_s = float(sys.argv[1])
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed by mistake is not taken for a frame
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: our parent hears it, and closes our input
    gc.freeze()
    answers.write(HEAD.pack(0))  # started
    answers.flush()
    while raw := _frame(questions):
        # By default the alarm ends the process: our parent, which watches the time, may be gone.
        signal.setitimer(signal.ITIMER_REAL, limit_s + 1.0)
        reply = _reply(pickle.loads(raw))  # noqa: S301  # it comes from our own parent
        signal.setitimer(signal.ITIMER_REAL, 0)
        encoded = msgspec.msgpack.encode(reply)
        answers.write(HEAD.pack(len(encoded)) + encoded)
        answers.flush()
        if reply.last:
            return


def _reply(question: Question) -> Reply:
    bug = ""
    try:
        answer = answered(question)
    except MemoryError:
        answer = Answer(413, b"the review needs too much memory\n")
    except Exception as wrong:  # noqa: BLE001  # the boundary of this process
        answer = Answer(500, f"the webhook failed: {wrong!r}\n".encode())
        bug = traceback.format_exc()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > _GROWN_KIB
    return Reply(answer, grown, bug)


def _frame(stream: BinaryIO) -> bytes:
    head = stream.read(HEAD.size)
    return stream.read(HEAD.unpack(head)[0]) if len(head) == HEAD.size else b""


if __name__ == "__main__":
    main()
