"""``lateen demo``: the Online Boutique shop inside the mesh, on this machine, in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    check: Annotated[
        bool, typer.Option("--check", help="No terminal: print PASS or FAIL for each step and end.")
    ] = False,
    home: Annotated[
        str, typer.Option("--home", help="Folder for the demo's cluster; removed at the end.")
    ] = "",
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cluster running at the end.")] = False,
) -> None:
    """Start a Kubernetes, install the mesh, run the shop in it, and show who calls whom."""
    from lateen.demo import beside, run  # imports rich and the Kubernetes client

    beside.isolate()
    folder = Path(home) if home else Path.home() / ".lateen" / "demo"
    raise typer.Exit(run.demo(folder, check=check, keep=keep))
