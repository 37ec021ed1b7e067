"""Which program does an image stand for? A table of globs instead of a registry."""

from __future__ import annotations

import functools
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from skiff.node import visible


class Image(NamedTuple):
    """What an image would have brought: its program, environment and user."""

    entrypoint: list[str]
    args: list[str]
    env: dict[str, str]
    user: int | None
    applets: bool
    commands: dict[str, list[str]]  # name -> argv
    shown: tuple[str, ...] = ()  # what it shows of the host beside /usr


def find_image(image: str, home: Path) -> Image | None:
    """The first matching line, the user's own first; None if there is none."""
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    for line in [*_lines(home / "images.yaml"), *_lines(Path(__file__).parents[1] / "images.yaml")]:
        if not fnmatchcase(image, str(line.get("image", ""))) or name not in line.get("only", [name]):
            continue

        def fill(value: Any) -> str:
            return str(value).replace("{python}", sys.executable).replace("{name}", name)

        user = line.get("user")
        entrypoint, args = ([fill(word) for word in line.get(key) or []] for key in ("entrypoint", "args"))
        commands = {
            str(key): [fill(it) for it in words] for key, words in (line.get("commands") or {}).items()
        }
        words = [*entrypoint, *args, *(it for argv in commands.values() for it in argv)]
        shown = visible.of_words(words) | {str(it) for it in line.get("paths") or []}
        if "{python}" in str(line):
            shown |= set(visible.of_python())
        return Image(
            entrypoint, args, {str(key): fill(value) for key, value in (line.get("env") or {}).items()},
            int(user) if user is not None else None, bool(line.get("applets")), commands, visible.outermost(shown),
        )  # fmt: skip
    return None


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        found = path.stat()
    except OSError:
        return []
    return _read(path, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> list[dict[str, Any]]:
    """Every start of a container asks, so a file is read once for each of its states."""
    del changed, size  # part of the key
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return []
    return [line for line in found if isinstance(line, dict)] if isinstance(found, list) else []


class Images:
    """The whole table, for people to read."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self._lines = lines

    @classmethod
    def load(cls, home: Path) -> Images:
        """The user's lines first."""
        return cls([*_lines(home / "images.yaml"), *_lines(Path(__file__).parents[1] / "images.yaml")])

    def rows(self) -> list[tuple[str, str]]:
        """(image, command)."""
        return [
            (
                str(it.get("image", "")),
                " ".join(map(str, [*(it.get("entrypoint") or []), *(it.get("args") or [])])),
            )
            for it in self._lines
        ]
