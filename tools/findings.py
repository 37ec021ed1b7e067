"""Which test keeps which finding fixed: a table of ``@pytest.mark.finding("security 1")`` in tests/."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"


def rows_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The rows that a test names in its decorators."""
    return [
        argument.value
        for it in function.decorator_list
        if isinstance(it, ast.Call) and isinstance(it.func, ast.Attribute) and it.func.attr == "finding"
        for argument in it.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def table() -> dict[str, list[str]]:
    """Tests by row."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for row in rows_of(node):
                    found[row].append(f"{path.relative_to(TESTS)}::{node.name}")
    return found


def main() -> None:
    """Print the table as Markdown, rows in their natural order."""
    sys.stdout.write("| finding | tests |\n|---|---|\n")
    for row, tests in sorted(
        table().items(),
        key=lambda it: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", it[0])],
    ):
        sys.stdout.write(f"| {row} | {', '.join(f'`{it}`' for it in tests)} |\n")


if __name__ == "__main__":
    main()
