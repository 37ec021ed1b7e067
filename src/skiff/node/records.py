"""What must the next daemon know of what runs? Noted on disk before it begins, in the folder of each pod.

The objects say what shall be; these say what there is: which namespace is the pod's, which process guards which container,
and how far it was. They are worth nothing after a restart of the machine, and say so.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from skiff.node import guardian
from skiff.node.guardian import Guardian
from skiff.processes import alive, boot

T = TypeVar("T", "Sandbox", "Run")
_SANDBOX = "sandbox.json"
_RUNS = "runs"
#: What keeps a pod's shared processes together; no container is called so.
PAUSE = "POD"
_CLEARING_S = 2.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A pod's place in the network. ``inode`` is the namespace's: another one of the same name is not it."""

    name: str
    ip: str
    inode: int
    boot: str = field(default_factory=boot)


@dataclass(slots=True)
class Run:
    """One run of one container."""

    pid: int  # the guardian's
    since: str
    id: str
    number: int  # how often it was started before
    started_at: str
    tty: bool
    stdin: bool
    security: dict[str, Any]  # the image may have named a user
    last: dict[str, Any]  # how the run before ended
    failures: int = 0  # for the patience with the next
    program: tuple[int, str] = (0, "")
    begun: bool = False  # the program runs
    launched: bool = False  # its postStart hook and startup probe are done
    asked: bool = False  # told to end
    shares: bool = False  # it is among the processes of others
    boot: str = field(default_factory=boot)


def folder_of(home: Path, pod: dict[str, Any]) -> Path:
    """Where the files of a pod lie."""
    metadata = pod["metadata"]
    return home / "pods" / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"


def note_sandbox(folder: Path, sandbox: Sandbox) -> None:
    """It is there."""
    _write(folder / _SANDBOX, asdict(sandbox))


def sandbox(folder: Path) -> Sandbox | None:
    """Of this run of the machine."""
    found = _read(folder / _SANDBOX)
    return _made(Sandbox, found)


def note_run(folder: Path, container: str, run: Run) -> None:
    """It is as it is now."""
    path = folder / _RUNS / f"{container}.json"
    path.parent.mkdir(exist_ok=True)
    _write(path, asdict(run))


def run(folder: Path, container: str) -> Run | None:
    """The last one, whether it lives or not."""
    found = _read(folder / _RUNS / f"{container}.json")
    return _made(Run, found)


def end_file(folder: Path, container: str, identity: str) -> Path:
    """Where a guardian writes with which code its program ended."""
    return folder / _RUNS / f"{container}.{identity[:16]}.end"


def forget_runs(folder: Path, container: str, *, but: str) -> None:
    """Remove the ends of older runs."""
    kept = end_file(folder, container, but).name
    for it in (folder / _RUNS).glob(f"{container}.*.end*"):
        if it.name != kept:
            it.unlink(missing_ok=True)


def resumed(folder: Path, container: str, run: Run) -> Guardian:
    """The guardian of a noted run."""
    end = end_file(folder, container, run.id)
    found = Guardian.found(run.pid, run.since, end, tty=run.tty, stdin=run.stdin)
    pid, since = run.program
    found.first = (int(pid), str(since))
    return found


def forget(folder: Path) -> None:
    """Nothing of the pod runs any more."""
    (folder / _SANDBOX).unlink(missing_ok=True)
    for it in (folder / _RUNS).iterdir() if (folder / _RUNS).is_dir() else ():
        it.unlink(missing_ok=True)


def kill(folder: Path) -> None:
    """End at once what an earlier daemon left of a pod that is none any more."""
    every = {it.stem: found for it in (folder / _RUNS).glob("*.json") if (found := _made(Run, _read(it)))}
    for it in every.values():
        pid, since = it.program
        guardian.kill((int(pid), str(since)))
    waited = [
        end_file(folder, name, it.id) for name, it in every.items() if it.shares and alive(it.pid, it.since)
    ]
    until = time.monotonic() + _CLEARING_S  # who waits for a program ends what it left
    while not all(it.exists() for it in waited) and time.monotonic() < until:
        time.sleep(0.005)
    guardian.kill(*((it.pid, it.since) for it in every.values()))


def running(folder: Path) -> int:
    """How many containers of a pod go on, whether a daemon runs or not."""
    files = (it for it in (folder / _RUNS).glob("*.json") if it.stem != PAUSE)
    every = (_made(Run, _read(it)) for it in files)
    return sum(it is not None and alive(*it.program) for it in every)


def _made(kind: type[T], found: dict[str, Any]) -> T | None:
    """None of what a skiff of another version wrote, when that cannot be understood."""
    try:
        return kind(**{key: value for key, value in found.items() if key in kind.__annotations__})
    except TypeError:
        return None


def _write(path: Path, content: dict[str, Any]) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(content))
    fresh.replace(path)


def _read(path: Path) -> dict[str, Any]:
    """Nothing of another run of the machine, whose pids and namespaces mean nothing now, nor what is no record."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text())
        if isinstance(found, dict) and found.get("boot") == boot():
            return found
    return {}
