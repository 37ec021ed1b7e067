"""What does the shop do right now? A table in the terminal, redrawn until Ctrl-C."""

from __future__ import annotations

import asyncio
import time

from rich.console import Console
from rich.live import Live
from rich.table import Table

from lateen.demo import steps, traffic
from lateen.demo.commands import Machine
from lateen.kube.client import KubeClient

EVERY_S = 3.0


def watch(machine: Machine, console: Console) -> None:
    """Show who calls whom until the user ends it."""
    console.print(
        f"\nThe shop is open at [bold]{steps.gateway_url(machine)}[/]. Ctrl-C ends the demo and cleans up.\n"
    )
    asyncio.run(_redraw(machine, console))


async def _redraw(machine: Machine, console: Console) -> None:
    async with KubeClient.from_environment(machine.environment["KUBECONFIG"], None) as client:
        before, then = traffic.flows(await traffic.pages(client, ["default"])), time.monotonic()
        with Live(console=console, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(EVERY_S)
                now, moment = traffic.flows(await traffic.pages(client, ["default"])), time.monotonic()
                live.update(picture(traffic.difference(now, before), moment - then), refresh=True)
                before, then = now, moment


def picture(seen: traffic.Flows, seconds: float) -> Table:
    """Edges with their rate, success, latency and share of mutual TLS."""
    table = Table(title="who calls whom", title_justify="left", box=None, padding=(0, 2))
    for column, side in (("FROM", "left"), ("TO", "left"), ("REQ/S", "right"), ("SUCCESS", "right"), ("P50", "right"),
                         ("P99", "right"), ("MTLS", "right")):  # fmt: skip
        table.add_column(column, justify="left" if side == "left" else "right")
    rows = [*sorted(seen.items()), (traffic.Edge("all", ""), traffic.total(seen))]
    for edge, flow in rows:
        if not flow.requests:
            continue
        good = 1 - flow.failures / flow.requests
        table.add_row(
            edge.source, f"{edge.destination} {edge.version if edge.version not in ('', 'latest') else ''}".strip(),
            f"{flow.requests / seconds:.1f}", f"[{'green' if good == 1 else 'red'}]{good:.1%}[/]",
            f"{flow.quantile_ms(0.5):.0f} ms", f"{flow.quantile_ms(0.99):.0f} ms", f"{flow.mutual_tls / flow.requests:.0%}",
        )  # fmt: skip
    return table
