"""Are files and functions small enough to read? Hard limits of STYLE.md; exceptions may only shrink."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FILE_LINES, FUNCTION_LINES = 400, 70
GENERATED = ("boutique/pb/",)
#: path -> lines it may have at most, with the reason on its line. Never raise a figure.
EXCEPTIONS: dict[str, int] = {}


def main() -> int:
    """Print every breach; 1 if there is any."""
    breaches = [it for path in sorted(Path("src").rglob("*.py")) for it in breaches_of(path)]
    for it in breaches:
        print(it)
    return 1 if breaches else 0


def breaches_of(path: Path) -> list[str]:
    """What is too large in one file."""
    if any(part in str(path) for part in GENERATED):
        return []
    text = path.read_text()
    lines, limit = text.count("\n"), EXCEPTIONS.get(str(path), FILE_LINES)
    found = [f"{path}: {lines} lines, at most {limit}: split it along its purposes"] if lines > limit else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                found.append(
                    f"{path}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES}"
                )
    return found


if __name__ == "__main__":
    sys.exit(main())
