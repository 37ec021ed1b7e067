"""In which order do things happen, and what is the verdict? The demo from an empty machine to a clean one."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TextIO, cast

from rich.console import Console
from rich.markup import escape

from lateen.demo import live, steps, traffic
from lateen.demo.commands import CommandFailedError, Machine
from lateen.demo.output import NobodyReadsError, Output

#: What a step may end with that is no bug: of commands, of the mesh, of the API server that steps ask themselves.
_FAILURES = (CommandFailedError, steps.StepFailedError, *traffic.UNANSWERED)


@dataclass
class Verdicts:
    """What every step showed, printed as it comes."""

    console: Console
    check: bool
    failed: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def step(self, name: str, title: str, run: Callable[[], str], *, shop: Machine | None = None) -> bool:
        """Run one step; a failure is a verdict, not the end of the report. With ``shop`` its traffic is shown meanwhile."""
        begun = time.monotonic()
        try:
            if self.check or not self.console.is_terminal:
                figure = run()
            elif shop:
                figure = live.during(shop, self.console, f"{name} {title}", run)
            else:
                with self.console.status(f"{name} {title} ..."):
                    figure = run()
        except _FAILURES as problem:
            self.failed.append(name)
            said = str(problem) or type(problem).__name__
            self._say("FAIL", name, title, said, time.monotonic() - begun)
            return False
        self._say("PASS", name, title, figure, time.monotonic() - begun)
        return True

    def _say(self, verdict: str, name: str, title: str, figure: str, seconds: float) -> None:
        colour = "green" if verdict == "PASS" else "red"
        self.console.print(
            f"[{colour}]{verdict}[/] {name:4} {title}: {escape(figure)} ({seconds:.1f} s)",
            highlight=False,
            soft_wrap=True,
        )


def demo(home: Path, *, check: bool, keep: bool) -> int:
    """The exit code: 0 when every step passed. Whatever happens, the machine is left clean unless ``keep``."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # Ctrl-C is asyncio's
        signal.signal(number, _interrupted)
    output = Output(sys.stdout)
    console = Console(file=cast("TextIO", output))
    verdicts, interrupted = Verdicts(console, check), False
    machine = Machine.in_folder(home)
    try:
        if _steps(machine, verdicts):
            watched = not check and console.is_terminal
            if keep or watched:
                _look_further(machine, console)
            if watched:
                with contextlib.suppress(KeyboardInterrupt):  # the way to end it
                    live.watch(machine, console)
    except (KeyboardInterrupt, NobodyReadsError):
        interrupted = True
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # an impatient second Ctrl-C would leave half of it behind
        output.forgiving = True
        if interrupted:
            console.print("interrupted: cleaning up")
        if not keep:
            verdicts.step("A0", "the machine is clean again", lambda: steps.clean(machine))
            shutil.rmtree(home, ignore_errors=True)
    count = len(verdicts.failed)
    said = "interrupted" if interrupted else "all steps passed"
    console.print(
        f"{f'{count} failed: ' + ', '.join(verdicts.failed) if count else said} after {time.monotonic() - verdicts.started:.0f} s"
    )
    return 1 if count or interrupted else 0


def _steps(machine: Machine, verdicts: Verdicts) -> bool:
    """Steps in the order of the tutorial; those that nothing can follow end the run."""
    needed: tuple[tuple[str, str, Callable[[Machine], str]], ...] = (
        ("A1", "a Kubernetes on this machine", steps.cluster_up),
        ("A2", "commands answer", steps.commands_answer),
        ("A3", "the mesh is installed", steps.mesh_installed),
        ("A7", "injection is switched on", steps.injection_on),
        ("A5", "the shop is applied and inside the mesh", steps.shop_applied),
    )
    for name, title, step in needed:
        if not verdicts.step(name, title, lambda step=step: step(machine)):  # type: ignore[misc]
            return False
    shown: tuple[tuple[str, str, Callable[[Machine], str]], ...] = (
        ("A3b", "installing again changes nothing", steps.install_again),
        ("A6", "the shop sells through the ingress gateway", steps.checkout_through_gateway),
        ("A8", "kubectl's literal command finds nothing", steps.literal_delete),
        ("A9", "applying again changes nothing", steps.apply_again),
        ("A10", "every proxy is synced", steps.proxies_synced),
        ("A10b", "every call is mutual TLS", steps.calls_are_mutual_tls),
        ("A13", "20 % of the catalogue's calls go to a slow v2", steps.canary),
        ("A10c", "STRICT with no failed request", steps.strict),
    )
    for name, title, step in shown:
        verdicts.step(name, title, lambda step=step: step(machine), shop=machine)  # type: ignore[misc]
    return not verdicts.failed


def _look_further(machine: Machine, console: Console) -> None:
    """The user's own kubeconfig knows nothing of this cluster."""
    console.print("\nTo look further, in another terminal:")
    for line in steps.further(machine):
        console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)
    console.print()


def _interrupted(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(demo(Path.home() / ".lateen" / "demo", check=True, keep=False))
