"""Is this a regular expression that Envoy reads? RE2's syntax and limits, as far as they can be seen without RE2.

Envoy refuses a whole route configuration for one expression in it, so what gets by here stops the news for all
services of a port. Python's reader finds what is wrong for both; the rest is the difference between the two
(https://github.com/google/re2/wiki/Syntax).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

_LONGEST = 1024
#: RE2's own limit for a repetition, those around it multiplied in.
_MOST_REPEATED = 1000
#: Of RE2's program, whose limit is 32768 (``lateen.envoy.bootstrap``); what is counted here is rough.
_LARGEST = 20_000

#: An escape, a class of characters, a counted repetition, or one character.
_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d+(?:,\d*)?\}|.", re.DOTALL)
_COUNTED = re.compile(r"\{(\d+)(?:,(\d*))?\}")
#: Escapes which are not punctuation: digits are octal, but references back begin with 1 to 9.
_ESCAPED = frozenset("aftnrvxCQEAbBzdDsSwWpP0")
_IN_CLASS = frozenset("aftnrvxdDsSwWpP0123456789")
#: Looking around, conditions, atomic groups and flags that only Python has, and possessive counts.
_NOT_RE2 = re.compile(r"\(\?(?![imsU]*(?:-[imsU]+)?[:)]|P?<[A-Za-z_])|[*+?}]\+")
#: What RE2 reads and Python does not; such an expression is left to Envoy.
_ONLY_RE2 = re.compile(r"\\[pPzQEC]|\[\[:|\(\?<[a-zA-Z]|\(\?[a-zA-Z]*U|\\x\{|.\(\?[a-zA-Z]+\)")


def regex(text: str) -> str:
    """What is wrong with it, or ""."""
    if not text:
        return "a regular expression cannot be empty"
    if len(text) > _LONGEST:
        return f"the regular expression is longer than {_LONGEST} characters"
    pieces = _PIECE.findall(text)
    if strange := _strange(pieces):
        return f'"{strange}" is not known to RE2 (https://github.com/google/re2/wiki/Syntax)'
    size, repeated = _cost(pieces)
    if repeated > _MOST_REPEATED:
        return f"the regular expression repeats something more than {_MOST_REPEATED} times"
    if size > _LARGEST:
        return "the regular expression is too large with all its repetitions: repeat less"
    if _ONLY_RE2.search(text):
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's plans for nested sets are not RE2's
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as wrong:
        return f'"{text}" is not a regular expression: {wrong}'
    return ""


def _strange(pieces: Sequence[str]) -> str:
    """The first thing that RE2 does not read."""
    for it in pieces:
        escapes = re.findall(r"\\(.)", it, re.DOTALL) if it[0] in "\\[" and len(it) > 1 else ()
        known = _ESCAPED if it[0] == "\\" else _IN_CLASS
        for one in escapes:
            if (one.isalnum() or not one.isascii()) and one not in known:
                return f"\\{one}"
    found = _NOT_RE2.search("".join("x" if it[0] in "\\[" and len(it) > 1 else it for it in pieces))
    return found[0] if found else ""


def _cost(pieces: Sequence[str]) -> tuple[int, int]:
    """(about how many steps RE2's program has, how often its most repeated part is)."""
    groups, last = [(0, 1)], (0, 1)
    for it in pieces:
        size, repeated = groups[-1]
        if it == "(":
            groups.append((0, 1))
            continue
        if it == ")" and len(groups) > 1:
            last = groups.pop()
            size, repeated = groups[-1]
            added = last[0] + 2
        elif counted := _COUNTED.fullmatch(it):
            times = max(int(counted[2] or counted[1]), 1)
            added, last = last[0] * (times - 1), (last[0] * times, last[1] * times)
        else:
            added = _steps(it)
            last = (added, 1)
        groups[-1] = (size + added, max(repeated, last[1]))
    return sum(size for size, _ in groups), max(repeated for _, repeated in groups)


def _steps(piece: str) -> int:
    """Measured, and rounded up."""
    if piece[:2] in ("\\p", "\\P") or (piece[0] == "[" and "\\" in piece):
        return 15  # classes of Unicode
    return 5 if piece == "." or len(piece) > 1 or not piece.isascii() else 1
