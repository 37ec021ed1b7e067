"""How does a test get a real cluster? ``skiff start`` in a machine of its own: private network, mounts and processes.

Nothing of it touches the host, several run side by side, and all of it ends with the process that started it: the first
process of the private machine reads a pipe from us, and everything in there is killed when it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

#: Run by the first process of the private machine; it lives until its input ends.
_FIRST = """
mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && mount --make-rshared /run/netns
mount -t sysfs sysfs /sys
ip link set lo up
echo ready
cat
"""

Answer = subprocess.CompletedProcess[str]


class Cluster:
    """One skiff, with options of ``skiff start``. ``run`` and ``kubectl`` wait for a command; ``process`` leaves it running.

    Whatever is to reach the cluster runs in its machine: give ``run`` and ``process`` the controller's command line.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
        self.folder = Path(tempfile.mkdtemp(prefix="skiff-test-"))
        self.folder.chmod(0o755)  # containers of other users look into it
        self.home = self.folder / "skiff"
        self.environment = {
            **os.environ, "HOME": str(self.folder), "SKIFF_HOME": str(self.home), "KUBECONFIG": str(self.folder / "kubeconfig"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        }  # fmt: skip
        self._machine: subprocess.Popen[str] | None = None
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        try:
            self.start(*self._options)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    # --- beginning and end -----------------------------------------------------------------------

    def start(self, *options: str, images: Iterable[dict[str, Any]] = ()) -> None:
        """Make the private machine, once, and start skiff in it. ``images`` are entries of its images.yaml."""
        self.machine()
        if images:
            self.home.mkdir(parents=True, exist_ok=True)
            (self.home / "images.yaml").write_text(json.dumps(list(images)))
        self.run("skiff", "start", *options)

    def machine(self) -> None:
        """Make the private machine, once, without a cluster."""
        if self._machine is None:
            self._machine = subprocess.Popen(
                ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
                 "sh", "-ec", _FIRST],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment,
            )  # fmt: skip
            assert self._machine.stdout
            if self._machine.stdout.readline() != "ready\n":
                raise RuntimeError("no private machine: see stderr")

    def end(self) -> None:
        """Kill everything in the private machine and remove the folder."""
        for it in self._running:  # first: a machine does not end before all its processes are waited for
            if it.poll() is None:
                it.kill()
            it.communicate()
        self._running.clear()
        if self._machine is not None:
            self._machine.communicate()  # its input ends, and with the first process all others
            self._machine = None
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- commands --------------------------------------------------------------------------------

    def argv(self, *argv: str) -> list[str]:
        """The command line which runs a command in the private machine."""
        assert self._machine
        pid = self._machine.pid
        return [
            "nsenter",
            f"--target={pid}",
            "--net",
            "--mount",
            f"--pid=/proc/{pid}/ns/pid_for_children",
            *argv,
        ]

    def run(self, *argv: str, stdin: str = "", check: bool = True, timeout: float = 120.0) -> Answer:
        """A command in the private machine: .returncode, .stdout, .stderr. With ``check`` it must succeed."""
        said = subprocess.run(
            self.argv(*argv), input=stdin, capture_output=True, text=True, env=self.environment, timeout=timeout, check=False
        )  # fmt: skip
        if check and said.returncode:
            message = f"{' '.join(argv)} ended with {said.returncode}\n{said.stdout}{said.stderr}\n{self.log()[-3000:]}"
            raise AssertionError(message)
        return said

    def kubectl(self, *argv: str, stdin: str = "", check: bool = True, timeout: float = 120.0) -> Answer:
        """The real kubectl."""
        return self.run("kubectl", *argv, stdin=stdin, check=check, timeout=timeout)

    def python(self, script: str, *argv: str, check: bool = True, timeout: float = 120.0) -> Answer:
        """A Python script, with the interpreter and packages of the tests."""
        return self.run(sys.executable, "-c", script, *argv, check=check, timeout=timeout)

    def process(self, *argv: str) -> subprocess.Popen[str]:
        """A command that goes on, with pipes; ended with the cluster at the latest."""
        # Whoever kills it kills nsenter, which waits for the command: this takes the command along.
        dying = ("setpriv", "--pdeathsig=TERM")
        made = subprocess.Popen(
            self.argv(*dying, *argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=self.environment,
        )  # fmt: skip
        self._running.append(made)
        return made

    # --- objects ---------------------------------------------------------------------------------

    def apply(self, *objects: dict[str, Any], namespace: str = "default") -> None:
        """``kubectl apply`` of objects given as dicts."""
        self.kubectl("apply", "-n", namespace, "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))

    def objects(self, resource: str, *options: str) -> list[dict[str, Any]]:
        """What ``kubectl get RESOURCE OPTIONS`` finds; nothing when the one asked for by name is not there."""
        said = self.kubectl("get", resource, *options, "--ignore-not-found", "-o", "json").stdout
        found = json.loads(said) if said else {"items": []}
        items: list[dict[str, Any]] = found.get("items", [found])
        return items

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
        """Wait until something is true, and return it."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > end:
                raise AssertionError(f"after {seconds:.0f} s still not: {what}\n{self.log()[-3000:]}")
            time.sleep(0.1)
        return found

    def log(self) -> str:
        """What the daemon said."""
        path = self.home / "daemon.log"
        return path.read_text(errors="replace") if path.exists() else ""
