"""Which clusters do listeners and routes name? Read from their sealed bodies, each once however many proxies have it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from lateen.envoy.resource import Resource

#: How the names of clusters that lead somewhere begin (``lateen.compile.naming``).
_BEGINS = re.compile(rb"outbound\|")
_LONGEST = 1024  # longer ones are no names of ours: anybody's words may begin like one
_MOST = 200_000  # names that are remembered, of all bodies together
_HIGH = 0x80


class Names:
    """What bodies name, by their version."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[bytes]] = {}
        self._count = 0

    def of(self, it: Resource) -> frozenset[bytes]:
        """The clusters that a listener or a route names."""
        if (found := self._known.get(it.version)) is None:
            found = frozenset(_text_at(it.body, at.start()) for at in _BEGINS.finditer(it.body))
            self._count += len(found) + 1
            if self._count > _MOST:
                self._known.clear()
                self._count = len(found) + 1
            self._known[it.version] = found
        return found


_NAMES = Names()


def missing(names: AbstractSet[str], users: Iterable[Resource]) -> frozenset[str]:
    """Those of some names that are named by what uses clusters."""
    sought = {it.encode() for it in names if it.startswith("outbound|")}
    found: set[bytes] = set()
    for it in users if sought else ():
        found |= sought & _NAMES.of(it)
    return frozenset(it.decode() for it in found)


def _text_at(body: bytes, at: int) -> bytes:
    """A text of protobuf: its length stands before it, seven bits a byte, the highest bit where more follow."""
    length = body[at - 1] if at else 0
    if at > 1 and body[at - 2] >= _HIGH:
        length = length << 7 | body[at - 2] & ~_HIGH
    return body[at : at + length] if length <= _LONGEST else b""
