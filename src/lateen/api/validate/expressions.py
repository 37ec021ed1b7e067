"""Is this a regular expression that Envoy reads? RE2's syntax and limits, as far as they can be seen without RE2.

Envoy refuses a whole route configuration for one expression in it, so what gets by here stops the news for all
services of a port. Python's reader finds what is wrong for both; the rest is the difference between the two
(https://github.com/google/re2/wiki/Syntax).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

#: Of those that Envoy gets.
LONGEST = 1024
#: RE2's own limit for a repetition, those around it multiplied in.
_MOST_REPEATED = 1000
#: Of RE2's program, whose limit is 32768 (``lateen.envoy.bootstrap``); what is counted here is rough.
_LARGEST = 20_000

#: Quoted text, an escape, a class of characters, a counted repetition, the begin of a group, or one character.
_PIECE = re.compile(
    r"\\Q.*?(?:\\E|$)|\\[pP](?:\{\^?\w+\}|\w)|\\x\{[0-9a-fA-F]{1,6}\}|\\."
    r"|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|\{\d+(?:,\d*)?\}|\(\?[a-zA-Z]*(?:-[a-zA-Z]+)?[:)]|\(\?P?<[A-Za-z_]\w*>|.",
    re.DOTALL,
)
_COUNTED = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_FLAGS = re.compile(r"\(\?[imsU]*(?:-[imsU]+)?([:)])")
#: Escapes which are not punctuation: digits are octal, but references back begin with 1 to 9.
_ESCAPED = frozenset("aftnrvxCAbBzdDsSwWpP0")
_IN_CLASS = frozenset("aftnrvxdDsSwWpP01234567")
_NAMED = re.compile(
    r"\[:\^?(?:alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit):\]"
)
#: Unicode's categories, and the scripts which have an alphabet of some use.
_UNICODE = re.compile(
    r"\\[pP](?:[CLMNPSZ]|\{\^?(?:[CLMNPSZ]|C[cfos]|L[lmotu]|M[cen]|N[dlo]|P[cdefios]|S[ckmo]|Z[lps]|Arabic|Armenian|Bengali"
    r"|Cyrillic|Devanagari|Georgian|Greek|Han|Hangul|Hebrew|Hiragana|Katakana|Latin|Tamil|Thai)\})"
)


def regex(text: str, longest: int = LONGEST) -> str:
    """What is wrong with it, or ""."""
    if not text:
        return "a regular expression cannot be empty"
    if len(text) > longest:
        return f"the regular expression is longer than {longest} characters"
    pieces = []
    for it in _PIECE.finditer(text):
        if it[0] == "[":  # looked for to the end of the text: once is enough
            return "the regular expression has a [ that is never closed"
        pieces.append(it[0])
    if strange := _strange(pieces):
        return f'"{strange}" is not known to RE2 (https://github.com/google/re2/wiki/Syntax)'
    size, repeated = _cost(pieces)
    if repeated > _MOST_REPEATED:
        return f"the regular expression repeats something more than {_MOST_REPEATED} times"
    if size > _LARGEST:
        return "the regular expression is too large with all its repetitions: repeat less"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's plans for nested sets are not RE2's
            re.compile("".join(map(_translated, pieces)))
    except (re.error, OverflowError, RecursionError) as wrong:
        return f'"{text}" is not a regular expression: {wrong}'
    return ""


def _translated(piece: str) -> str:
    """The same for Python's reader, or something that may stand in the same places."""
    if piece.startswith("\\Q"):
        return re.escape(piece.removeprefix("\\Q").removesuffix("\\E"))
    if piece[:2] in ("\\p", "\\P") or piece.startswith("\\x{") or piece == "\\C":
        return "x"
    if piece == "\\z":
        return "\\Z"
    if piece[0] == "[" and len(piece) > 1:
        return _UNICODE.sub(r"\\w", _NAMED.sub(r"\\w", re.sub(r"\\x\{\w+\}", "x", piece)))
    if flags := _FLAGS.fullmatch(piece):
        return "(?:" if flags[1] == ":" else ""
    return piece.replace("(?<", "(?P<") if piece.startswith("(?<") else piece


def _strange(pieces: Sequence[str]) -> str:
    """The first thing that RE2 does not read."""
    for number, it in enumerate(pieces):
        after = pieces[number + 1] if number + 1 < len(pieces) else ""
        if it[0] in "\\[" and len(it) > 1 and not it.startswith("\\Q") and (escape := _strange_escape(it)):
            return escape
        if it == "(" and after == "?":
            return "".join(pieces[number : number + 3])
        if it.startswith("(?") and not it.endswith(">") and not _FLAGS.fullmatch(it):
            return it
        # Possessive, and flags that are repeated.
        if (it in ("*", "+", "?") or _COUNTED.fullmatch(it)) and after == "+":
            return it + after
        if (
            it.startswith("(?")
            and it.endswith(")")
            and (after in ("*", "+", "?") or _COUNTED.fullmatch(after))
        ):
            return it + after
    return ""


def _strange_escape(piece: str) -> str:
    """In an escape, or in a class of characters."""
    known = _ESCAPED if piece[0] == "\\" else _IN_CLASS
    for one in re.findall(r"\\(?:[pP](?:\{\^?\w+\}|\w)|.)", piece, re.DOTALL):
        if (one[1].isalnum() or not one.isascii()) and one[1] not in known:
            return str(one)
        if one[1] in "pP" and not _UNICODE.fullmatch(one):
            return str(one)
    named = re.search(r"\[:\^?\w+:\]", piece)
    return named[0] if named and not _NAMED.fullmatch(named[0]) else ""


def _cost(pieces: Sequence[str]) -> tuple[int, int]:
    """(about how many steps RE2's program has, how often its most repeated part is)."""
    groups, last = [(0, 1)], (0, 1)
    for it in pieces:
        size, repeated = groups[-1]
        if it[0] == "(" and not (it.startswith("(?") and it.endswith(")")):
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
    if piece.startswith("\\Q"):
        return len(piece)
    if piece[:2] in ("\\p", "\\P") or (piece[0] == "[" and "\\" in piece):
        return 15  # classes of Unicode
    return 5 if piece == "." or len(piece) > 1 or not piece.isascii() else 1
