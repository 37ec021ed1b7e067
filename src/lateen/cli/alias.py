"""``lateen alias``: another name for this command, for tutorials and scripts that call istioctl."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from lateen.cli.connect import CommandError

NAMES = ("istioctl",)


def alias(
    name: Annotated[str, typer.Argument(help="The other name: istioctl.")] = NAMES[0],
    remove: Annotated[bool, typer.Option("--remove", help="Take the other name away again.")] = False,
) -> None:
    """Make this command answer to istioctl, too: a link beside it. An istioctl of Istio's is never touched."""
    if name not in NAMES:
        raise CommandError(f'the only alias is istioctl, not "{name}"')
    own = Path(shutil.which("lateen") or Path(sys.executable).with_name("lateen"))
    link = own.with_name(name)
    ours = link.is_symlink() and link.resolve() == own.resolve()
    if remove:
        if not ours:
            raise CommandError(f"{link} is no alias of lateen")
        link.unlink()
        typer.echo(f"removed {link}")
        return
    found = shutil.which(name)
    if not ours and (found or link.exists()):
        raise CommandError(f"there is an istioctl already, {found or link}: it stays as it is")
    if not ours:
        link.symlink_to(own.name)
    typer.echo(f"{link} is lateen now; verbs and options are istioctl's as far as lateen --help lists them")
