"""Which program does an image stand for? A table of globs instead of a registry: see docs/guide/images.md."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from skiff.node import visible

#: The user's own table in skiff's folder.
NAME = "images.yaml"
_OURS = Path(__file__).parents[1] / NAME
_TEXTS, _TEXT, _NUMBER, _YES_OR_NO, _MAP = "a list of texts", "a text", "a number", "true or false", "a map"
_KEYS = {
    "image": _TEXT, "entrypoint": _TEXTS, "args": _TEXTS, "env": _MAP, "user": _NUMBER, "applets": _YES_OR_NO,
    "commands": _MAP, "paths": _TEXTS, "only": _TEXTS,
}  # fmt: skip
_LARGEST = 2**20


class ImagesError(Exception):
    """A table that cannot be used; the message says which, where and why."""


class Image(NamedTuple):
    """What an image would have brought: its program, environment and user."""

    entrypoint: list[str]
    args: list[str]
    env: dict[str, str]
    user: int | None
    applets: bool
    commands: dict[str, list[str]]  # name -> argv
    shown: tuple[str, ...] = ()  # what it shows of the host beside /usr


class Found(NamedTuple):
    """An image, or why there is none."""

    image: Image | None
    why: str = ""


def sought(image: str, home: Path) -> Found:
    """The first matching line, the user's own first. A table of the user's that is wrong does not hide skiff's."""
    file, own, why = home / NAME, [], ""
    try:
        own = _lines(file)
    except ImagesError as wrong:
        why = str(wrong)
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    for line in [*own, *_lines(_OURS)]:
        if fnmatchcase(image, line["image"]) and name in line.get("only", [name]):
            return Found(_image(line, name))
    advice = f"skiff images add {image} -- /usr/bin/program"
    return Found(
        None, why or f"skiff runs programs of this machine and has none for it in {file}. Add one: {advice}"
    )


def _image(line: dict[str, Any], name: str) -> Image:
    def filled(words: Any) -> list[str]:
        return [str(it).replace("{python}", sys.executable).replace("{name}", name) for it in words or ()]

    env, user = line.get("env") or {}, line.get("user")
    commands = {str(key): filled(words) for key, words in (line.get("commands") or {}).items()}
    entrypoint, args = filled(line.get("entrypoint")), filled(line.get("args"))
    words = [*entrypoint, *args, *(it for argv in commands.values() for it in argv)]
    shown = visible.of_words(words) | set(filled(line.get("paths")))
    if "{python}" in str(line):
        shown |= set(visible.of_python())
    return Image(
        entrypoint, args, {str(key): filled([value])[0] for key, value in env.items()},
        int(user) if user is not None else None, bool(line.get("applets")), commands, visible.outermost(shown),
    )  # fmt: skip


def table(home: Path) -> list[dict[str, Any]]:
    """All lines, the user's own first."""
    return [*_lines(home / NAME), *_lines(_OURS)]


def rows(home: Path) -> list[tuple[str, str]]:
    """(image, command) of all lines, for people to read."""
    return [
        (it["image"], " ".join(map(str, [*(it.get("entrypoint") or []), *(it.get("args") or [])])))
        for it in table(home)
    ]


def add(home: Path, image: str, argv: list[str], paths: list[str]) -> str:
    """Put a line in front of the user's table, in place of one for the same image; the line."""
    program = argv[0]
    if not (shutil.which(program) or program.startswith("{python}")):
        raise ImagesError(f"{program}: no program that can be run; give its path, such as /opt/app/run")
    if "/" in program and not program.startswith(("/", "{python}")):
        raise ImagesError(f"{program}: give the whole path, beginning with /")
    line: dict[str, Any] = {"image": image, "entrypoint": argv} | ({"paths": paths} if paths else {})
    text = f"- {yaml.safe_dump(line, default_flow_style=True, width=10**6, sort_keys=False).strip()}\n"
    _check(yaml.safe_load(text), Path("this line"), [1])
    file = home / NAME
    remove(home, image)
    before = file.read_text() if file.exists() else ""
    if _in_brackets(before):
        before = _dumped(_lines(file))
    _write(file, text + before)
    return text.strip()


def remove(home: Path, image: str) -> bool:
    """Take away the line of the user's table for this image, as it is written there; False when there is none."""
    file = home / NAME
    lines = _lines(file)
    places = [number for number, it in enumerate(lines) if it["image"] == image]
    if not places:
        return False
    text = file.read_text()
    if _in_brackets(text):
        _write(file, _dumped([it for number, it in enumerate(lines) if number not in places]))
        return True
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    items = node.value if node else []
    written = text.splitlines(keepends=True)
    for number in reversed(places):
        first = items[number].start_mark.line
        last = items[number].end_mark.line + (items[number].end_mark.column > 0)
        del written[first : max(last, first + 1)]
    _write(file, "".join(written))
    return True


def _in_brackets(text: str) -> bool:
    """Written as one list, like JSON: its items need not have lines of their own."""
    return text.lstrip().startswith("[")


def _dumped(lines: list[dict[str, Any]]) -> str:
    return yaml.safe_dump(lines, default_flow_style=None, sort_keys=False) if lines else ""


def _write(file: Path, text: str) -> None:
    """All at once: pods look at any time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(file)


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        found = path.stat()
    except OSError:
        return []
    lines, wrong = _read(path, found.st_mtime_ns, found.st_size)
    if wrong:
        raise ImagesError(wrong)
    return lines


@functools.lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> tuple[list[dict[str, Any]], str]:
    """(lines, what is wrong). Every start of a container asks, so a file is read once for each of its states."""
    del changed  # part of the key
    if size > _LARGEST:
        return [], f"{path}: larger than {_LARGEST} bytes"
    try:
        text = path.read_text()
        node, found = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark
        return [], f"{path}, line {mark.line + 1 if mark else '?'}: no YAML: {wrong.problem}"
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as wrong:
        return [], f"{path}: cannot be read: {wrong}"
    if found is None:
        return [], ""
    places = [it.start_mark.line + 1 for it in node.value] if node and isinstance(found, list) else []
    try:
        _check(found, path, places)
    except ImagesError as wrong:
        return [], str(wrong)
    return found, ""


def _check(found: Any, path: Path, places: list[int]) -> None:
    if not isinstance(found, list):
        raise ImagesError(
            f"{path}: must be a list of images, such as: - {{image: app, entrypoint: [/opt/app/run]}}"
        )
    for place, line in zip(places, found, strict=True):
        where = f"{path}, line {place}"
        if not isinstance(line, dict) or not isinstance(line.get("image"), str):
            raise ImagesError(f'{where}: needs "image", a text with the image\'s name or a glob')
        for key, value in line.items():
            if key not in _KEYS:
                raise ImagesError(f'{where}: unknown key "{key}": there are {", ".join(_KEYS)}')
            if value is not None and not _is(value, _KEYS[key]):
                raise ImagesError(f"{where}: {key} must be {_KEYS[key]}, not {value!r:.100}")
        for name, words in (line.get("commands") or {}).items():
            if "/" in str(name) or not _is(words, _TEXTS):
                raise ImagesError(f"{where}: commands: {name} must be a name with {_TEXTS}")
        for needed in line.get("paths") or []:
            if not str(needed).startswith("/"):
                raise ImagesError(f'{where}: paths: "{needed}" must begin with /')


def _is(value: Any, kind: str) -> bool:
    if kind == _TEXTS:
        return isinstance(value, list) and all(isinstance(it, str | int | float) for it in value)
    wanted: dict[str, type] = {_TEXT: str, _NUMBER: int, _YES_OR_NO: bool, _MAP: dict}
    return isinstance(value, wanted[kind]) and (kind != _NUMBER or not isinstance(value, bool))
