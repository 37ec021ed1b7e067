"""How is an answer shown? Tables with istioctl's columns, or JSON and YAML for programs."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer


class Format(enum.StrEnum):
    """``-o``."""

    TABLE = "table"
    SHORT = "short"  # istioctl's word for table
    JSON = "json"
    YAML = "yaml"


Output = Annotated[Format, typer.Option("--output", "-o", help="table, json or yaml.", case_sensitive=False)]


def show(columns: Sequence[str], rows: Iterable[Sequence[str]], document: Any, output: Format) -> None:
    """Print rows for people or the document for programs."""
    match output:
        case Format.JSON:
            typer.echo(json.dumps(document, indent=4))
        case Format.YAML:
            import yaml  # only here, and 20 ms

            typer.echo(yaml.safe_dump(document, sort_keys=False), nl=False)
        case Format.TABLE | Format.SHORT:
            typer.echo(table(columns, rows))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns padded by five spaces, as Go's tab writer does for istioctl; scripts cut them with awk."""
    lines = [list(columns), *[list(row) for row in rows]]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    padded = (
        "     ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)
