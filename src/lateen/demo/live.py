"""What does the shop do right now? A table in the terminal, redrawn while something happens, or until Ctrl-C."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from lateen.demo import steps, traffic
from lateen.demo.commands import Machine
from lateen.kube.client import KubeClient

EVERY_S = 2.0
#: Latencies are of the last looks together: Envoy adds to its histograms every 5 s only.
LOOKS = 4
#: What was seen, and when.
Look: TypeAlias = tuple[traffic.Flows, float]


class Work(threading.Thread):
    """A step that runs beside the table. ``result`` returns its figure, or raises what it raised."""

    def __init__(self, step: Callable[[], str]) -> None:
        super().__init__(daemon=True)  # Ctrl-C does not wait for it
        self._step = step
        self._figure = ""
        self._wrong: BaseException | None = None

    def run(self) -> None:
        try:
            self._figure = self._step()
        except BaseException as wrong:  # noqa: BLE001  # it is raised again where the result is asked for
            self._wrong = wrong

    def result(self) -> str:
        """What the step returned."""
        if self._wrong is not None:
            raise self._wrong
        return self._figure


def during(machine: Machine, console: Console, title: str, step: Callable[[], str]) -> str:
    """Show who calls whom while a step runs, and return its figure."""
    work = Work(step)
    work.start()
    caption = Spinner("dots", Text(f"{title} ..."))
    asyncio.run(_redraw(machine, console, caption, work.is_alive))
    work.join()
    return work.result()


def watch(machine: Machine, console: Console) -> None:
    """Show who calls whom until the user ends it."""
    caption = Text.assemble(
        "The shop is open at ", (steps.gateway_url(machine), "bold"), ".  Ctrl-C ends the demo and cleans up."
    )
    asyncio.run(_redraw(machine, console, caption, lambda: True))


async def _redraw(
    machine: Machine, console: Console, caption: RenderableType, going_on: Callable[[], bool]
) -> None:
    async with KubeClient.from_environment(machine.environment["KUBECONFIG"], None) as client:
        looks: deque[Look] = deque(maxlen=LOOKS)
        table = Table()
        with Live(console=console, refresh_per_second=8, transient=True) as live:
            live.update(caption)
            while going_on():
                if look := await looked(client):
                    table = _between(looks, look) if looks else table
                    looks.append(look)
                live.update(Group(table, Text(""), caption))
                await _rest(going_on)


async def looked(client: KubeClient) -> Look | None:
    """One more look; None when the API server does not answer: the picture stays, and what it shows goes on."""
    try:
        return traffic.flows(await traffic.pages(client, ["default"])), time.monotonic()
    except traffic.UNANSWERED:
        return None


def _between(looks: deque[Look], now: Look) -> Table:
    (flows, moment), (before, then) = now, looks[-1]
    sampled = traffic.difference(flows, looks[0][0])
    return picture(traffic.difference(flows, before), moment - then, sampled)


async def _rest(going_on: Callable[[], bool]) -> None:
    until = time.monotonic() + EVERY_S
    while going_on() and time.monotonic() < until:
        await asyncio.sleep(0.1)


def picture(seen: traffic.Flows, seconds: float, sampled: traffic.Flows) -> Table:
    """Edges with their rate, success, latency (of what was ``sampled``) and share of mutual TLS."""
    table = Table(title="who calls whom", title_justify="left", box=None, padding=(0, 2))
    for column, side in (("FROM", "left"), ("TO", "left"), ("REQ/S", "right"), ("SUCCESS", "right"), ("P50", "right"),
                         ("P99", "right"), ("MTLS", "right")):  # fmt: skip
        table.add_column(column, justify="left" if side == "left" else "right")
    whole = traffic.Edge("all", "")
    rows = [*sorted(seen.items()), (whole, traffic.total(seen))]
    timed = {**sampled, whole: traffic.total(sampled)}
    for edge, flow in rows:
        if not flow.requests:
            continue
        good = 1 - flow.failures / flow.requests
        p50, p99 = (traffic.milliseconds(timed.get(edge, flow).quantile_ms(it)) for it in (0.5, 0.99))
        table.add_row(
            edge.source, f"{edge.destination} {edge.version if edge.version not in ('', 'latest') else ''}".strip(),
            f"{flow.requests / seconds:.1f}", f"[{'green' if good == 1 else 'red'}]{good:.1%}[/]",
            p50, p99, f"{flow.mutual_tls / flow.requests:.0%}",
        )  # fmt: skip
    return table
