"""How many files may the programs of one user watch? Each Envoy holds two inotify instances; Linux grants a user 128.

The limit is the machine's, not the cluster's: what it was is remembered, and put back when the cluster is deleted.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
#: Enough for more pods than Kubernetes puts on a node, with other programs beside them.
ENOUGH = 1024
_BEFORE = "inotify-before"


def allow(home: Path, limit: Path = _LIMIT) -> str:
    """Raise the limit when it is too low; a sentence about it, empty when there is nothing to tell."""
    try:
        before = int(limit.read_text())
    except (OSError, ValueError):
        return ""
    if before >= ENOUGH:
        return ""
    try:
        limit.write_text(f"{ENOUGH}\n")
    except OSError as refused:
        return (
            f"fs.inotify.max_user_instances is {before}, enough for {before // 2} pods in a mesh, and cannot be raised here "
            f"({refused.strerror})"
        )
    (home / _BEFORE).write_text(str(before))
    return f"fs.inotify.max_user_instances raised from {before} to {ENOUGH}, until `skiff delete`"


def put_back(home: Path, limit: Path = _LIMIT) -> None:
    """Undo ``allow``, unless somebody has changed the limit since."""
    with contextlib.suppress(OSError, ValueError):  # never raised, or not for us to change
        before = int((home / _BEFORE).read_text())
        if int(limit.read_text()) == ENOUGH:
            limit.write_text(f"{before}\n")
