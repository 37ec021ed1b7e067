"""Do names say what things are? GLOSSARY.md's forbidden words in names of modules, classes and functions."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

FORBIDDEN = {"manager", "helper", "helpers", "util", "utils", "common", "impl", "misc"}
#: Envoy's own words.
ENVOYS = {"connection_manager"}
MARKS = re.compile(r"\b(TODO|FIXME|XXX)\b")


def main() -> int:
    """Print every breach; 1 if there is any."""
    found = [
        it
        for path in sorted(Path("src").rglob("*.py"))
        if "/pb/" not in str(path)
        for it in breaches_of(path)
    ]
    for it in found:
        print(it)
    return 1 if found else 0


def breaches_of(path: Path) -> list[str]:
    """Forbidden words and unfinished marks in one file."""
    text = path.read_text()
    found = [f"{path}: the module's name says nothing"] if path.stem in FORBIDDEN else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            words = {it.lower() for it in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", node.name)}
            if words & FORBIDDEN and node.name not in ENVOYS:
                found.append(f"{path}:{node.lineno}: {node.name}: name the thing, not its shape")
    found += [
        f"{path}:{number}: {line.strip()[:80]}"
        for number, line in enumerate(text.splitlines(), 1)
        if MARKS.search(line)
    ]
    return found


if __name__ == "__main__":
    sys.exit(main())
