"""What can expressions do with strings? CEL's own extension for them, with a bound on what comes out.

https://github.com/google/cel-spec/blob/master/doc/extensions/strings.md
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

#: No function answers more than this: what one caller sends must not grow without an end.
LONGEST = 1_000_000
_ITEMS = 10_000


def bounded(text: str) -> str:
    """The text, unless it is longer than any function may answer."""
    if len(text) > LONGEST:
        raise ValueError(f"a string of more than {LONGEST} characters")
    return text


def no_overload(name: str) -> ValueError:
    """A function does not take values of these types."""
    return ValueError(f"no such overload: {name}")


def char_at(text: str, at: int) -> str:
    """The character at a place; "" just behind the last."""
    if not 0 <= at <= len(text):
        raise ValueError(f"index out of range: {at}")
    return text[at : at + 1]


def index_of(held: Any, wanted: Any, start: int = 0) -> int:
    """Of a string in a string, or of a value in a list."""
    if isinstance(held, str) and isinstance(wanted, str):
        if not 0 <= start <= len(held):
            raise ValueError(f"index out of range: {start}")
        return held.find(wanted, start)
    if not isinstance(held, list):
        raise no_overload("indexOf")
    return next((at for at, it in enumerate(held) if same(it, wanted)), -1)


def last_index_of(held: Any, wanted: Any, start: int | None = None) -> int:
    """Like ``index_of``, from the end."""
    if isinstance(held, str) and isinstance(wanted, str):
        if start is None:
            return held.rfind(wanted)
        if not 0 <= start <= len(held):
            raise ValueError(f"index out of range: {start}")
        return held.rfind(wanted, 0, start + len(wanted))
    if not isinstance(held, list):
        raise no_overload("lastIndexOf")
    return next((at for at in range(len(held) - 1, -1, -1) if same(held[at], wanted)), -1)


def same(one: Any, other: Any) -> bool:
    """Equal as CEL has it: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def substring(text: str, start: int, end: int | None = None) -> str:
    """From a place on, to another one."""
    last = len(text) if end is None else end
    if not 0 <= start <= last <= len(text):
        raise ValueError(f"index out of range: {start if start < 0 or start > len(text) else last}")
    return text[start:last]


def replace(text: str, old: str, new: str, most: int = -1) -> str:
    """The first so many occurrences, or all."""
    count = text.count(old) if most < 0 else min(most, text.count(old))
    if len(text) + count * (len(new) - len(old)) > LONGEST:
        raise ValueError(f"a string of more than {LONGEST} characters")
    return text.replace(old, new, most)


def split(text: str, separator: str, most: int = -1) -> list[str]:
    """At most so many parts; an empty separator cuts between all characters."""
    if most == 0:
        return []
    if text.count(separator) > _ITEMS:
        raise ValueError(f"a list of more than {_ITEMS} parts")
    if separator:
        return text.split(separator, most - 1 if most > 0 else -1)
    return list(text) if most < 0 or most >= len(text) else [*text[: most - 1], text[most - 1 :]]


def join(parts: list[Any], separator: str = "") -> str:
    """All strings of a list."""
    if not all(isinstance(it, str) for it in parts):
        raise no_overload("join")
    if sum(map(len, parts)) + len(separator) * len(parts) > LONGEST:
        raise ValueError(f"a string of more than {LONGEST} characters")
    return separator.join(parts)


def _ascii(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "".join(change(it) if it.isascii() else it for it in text)


lower_ascii, upper_ascii = _ascii(str.lower), _ascii(str.upper)


def trim(text: str) -> str:
    """Without white space around it."""
    return text.strip()


def reverse(text: str) -> str:
    """The last character first."""
    return text[::-1]


def quote(text: str) -> str:
    """As a literal."""
    marks = {
        "\\": "\\\\",
        '"': '\\"',
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\v": "\\v",
    }
    return bounded('"' + "".join(marks.get(it, it) for it in text) + '"')


def format_(text: str, values: list[Any]) -> str:
    """``"%s is %d".format([a, b])``."""
    made, rest, size = [], list(values), 0
    parts = iter(_directives(text))
    for plain, form, precision in parts:
        made.append(plain)
        if form == "%":
            made.append("%")
        elif form:
            if not rest:
                raise ValueError(f"index {len(values)} out of range")
            made.append(_formatted(rest.pop(0), form, precision))
        size += len(made[-1]) + len(plain)
        if size > LONGEST:
            raise ValueError(f"a string of more than {LONGEST} characters")
    return "".join(made)


def _directives(text: str) -> list[tuple[str, str, int]]:
    """(what stands before it, the letter, the digits behind the point) of each."""
    found, at = [], 0
    while (begin := text.find("%", at)) >= 0:
        end, precision = begin + 1, 6
        if text[end : end + 1] == ".":
            digits = end + 1
            while text[digits : digits + 1].isdigit():
                digits += 1
            precision, end = min(int(text[end + 1 : digits] or 0), 100), digits
        form = text[end : end + 1]
        if form not in tuple("%sdfebxXo"):
            raise ValueError(f"could not parse formatting clause: unrecognized formatting clause {form!r}")
        found.append((text[at:begin], form, precision))
        at = end + 1
    return [*found, (text[at:], "", 0)]


def _formatted(value: Any, form: str, precision: int) -> str:
    if form == "s":
        return shown(value)
    if form in "xX" and isinstance(value, str | bytes | bytearray):
        raw = value.encode() if isinstance(value, str) else bytes(value)
        return raw.hex().upper() if form == "X" else raw.hex()
    if isinstance(value, bool) and form == "b":
        return str(int(value))
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or (isinstance(value, float) and form not in "dfe")
    ):
        raise ValueError(f"error during formatting: {form} clause cannot be used on this type")
    if form in "fe":
        return f"{value:.{precision}{form}}"
    return f"{value:{form if isinstance(value, int) else ''}}"


def shown(value: Any) -> str:
    """A value as ``%s`` writes it."""
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "null"
        case float():
            return f"{value:g}" if value != int(value or 0) or abs(value) > 1e15 else str(int(value))
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%SZ")
        case timedelta():
            return f"{value.total_seconds():g}s"
        case bytes() | bytearray():
            return bytes(value).decode(errors="replace")
        case list():
            return bounded("[" + ", ".join(map(shown, value)) + "]")
        case dict():
            return bounded(
                "{"
                + ", ".join(f"{shown(key)}: {shown(it)}" for key, it in sorted(value.items(), key=str))
                + "}"
            )
    return str(value)
