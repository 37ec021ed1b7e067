"""The form of an expression in CEL: whether it can be parsed, not what it means.

One pass over the words, by the grammar of https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax .
"""

from __future__ import annotations

import re

LONGEST = 8 * 1024
_WORD = re.compile(
    r"(?P<space>\s+|//[^\n]*)"
    r"|(?P<value>[rRbB]{0,2}(?:\"\"\"(?:[^\"\\]|\\.|\"(?!\"\"))*\"\"\"|'''(?:[^'\\]|\\.|'(?!''))*'''"
    r"|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')|0x[0-9a-fA-F]+u?|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?[uU]?|\.\d+(?:[eE][-+]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}])",
    re.DOTALL,
)
_BETWEEN = frozenset(("&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "in"))
_CLOSED_BY = {"(": ")", "[": "]", "{": "}"}


class _Parser:
    """What is open, and whether a value is wanted next (else an operator)."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.wanted = True
        self.empty = False  # the bracket before may be closed at once
        self.field = False  # a dot stands before

    def takes(self, word: str, *, value: bool) -> bool:
        """Whether a word may stand here."""
        empty, self.empty = self.empty, False
        if self.field:
            self.field, self.wanted = False, False
            return word.isidentifier()
        if empty and self.open and word == _CLOSED_BY.get(self.open[-1]):
            return self._close(word)
        return self._value(word, value=value) if self.wanted else self._operator(word)

    def _value(self, word: str, *, value: bool) -> bool:
        if value:
            self.wanted = False
            return word != "in"
        if word in _CLOSED_BY:
            self.open.append(word)
            self.empty = word != "("
            return True
        if word == ".":  # .name is a name of the root
            self.field = True
        return word in ("!", "-", ".")

    def _operator(self, word: str) -> bool:
        if word in _BETWEEN:
            self.wanted = True
        elif word == ".":
            self.field = True
        elif word in _CLOSED_BY:
            self.open.append(word)
            self.wanted, self.empty = True, word != "["
        elif word == "?":
            self.open.append(word)
            self.wanted = True
        elif word == ":":
            self.wanted = True
            return bool(self.open) and (self.open[-1] == "{" or self.open.pop() == "?")
        elif word == ",":
            self.wanted, self.empty = True, bool(self.open) and self.open[-1] != "("
            return bool(self.open) and self.open[-1] != "?"
        else:
            return self._close(word)
        return True

    def _close(self, word: str) -> bool:
        self.wanted = False
        return bool(self.open) and _CLOSED_BY.get(self.open.pop()) == word


def expression(text: str) -> str:
    """What is wrong with its form, or ""."""
    if len(text) > LONGEST:
        return f"the expression is longer than {LONGEST} characters"
    parser, position = _Parser(), 0
    while position < len(text):
        found = _WORD.match(text, position)
        if found is None:
            return f'not an expression of CEL: "{text[position : position + 20]}" cannot be read'
        if found.lastgroup != "space" and not parser.takes(
            found[0], value=found.lastgroup in ("value", "name") and found[0] != "in"
        ):
            return f'not an expression of CEL: "{found[0]}" cannot stand at character {position + 1}'
        position = found.end()
    if parser.open or parser.wanted or parser.field:
        return "not an expression of CEL: it ends too early"
    return ""
