"""Write the table of what has no effect in skiff (src/skiff/apiserver/no_effect.py) into docs/skiff.md."""

from __future__ import annotations

from pathlib import Path

from skiff.apiserver.no_effect import TABLE

HEAD = "\n## What has no effect\n"


def main() -> None:
    path = Path(__file__).parents[1] / "docs" / "skiff.md"
    before, head, after = path.read_text().partition(HEAD)
    if not head:
        raise SystemExit(f"{path} has no section {HEAD.strip()!r}")
    section, mark, rest = after.partition("\n## ")
    prose = section.partition("\n| ")[0].rstrip()
    rows = "\n".join(
        ["| what | and what becomes of it |", "|---|---|", *(f"| `{it.where}` | {it.said} |" for it in TABLE)]
    )
    path.write_text(f"{before}{head}{prose}\n\n{rows}\n{mark}{rest}")


if __name__ == "__main__":
    main()
