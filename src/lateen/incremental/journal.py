"""What happened? The list of applied batches, as lines that can be kept, sent and replayed.

One line is one batch. A database that is fed the same lines holds the same facts at the same revision, and because
queries are pure it gives the same answers: a journal reproduces any output.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from lateen.incremental.database import Change, Database

#: Reads a value of a type that JSON does not know (msgspec's ``dec_hook``).
Reader: TypeAlias = Callable[[type, Any], Any]
#: Writes such a value (msgspec's ``enc_hook``).
Writer: TypeAlias = Callable[[Any], Any]


class Journal:
    """How changes of some tables are written and read. ``tables`` gives each table the type of its keys."""

    def __init__(
        self, tables: Mapping[type, type], reader: Reader | None = None, writer: Writer | None = None
    ) -> None:
        self._keys = dict(tables)
        self._tables = {table.__name__: table for table in tables}
        assert len(self._tables) == len(self._keys), "two tables of one name cannot be told apart"
        self._reader, self._writer = reader, writer

    def line(self, batch: Iterable[Change]) -> bytes:
        """One batch as a line, without the line's end."""
        entries = [(self._name(it.table), it.key, it.value) for it in batch]
        return msgspec.json.encode(entries, enc_hook=self._writer)

    def batch(self, line: bytes) -> list[Change]:
        """The batch of a line; raises ``msgspec.MsgspecError`` or ``KeyError`` when it is not one of this journal."""
        entries = msgspec.json.decode(line, type=list[tuple[str, msgspec.Raw, msgspec.Raw]])
        return [self._change(*entry) for entry in entries]

    def replay(self, db: Database, lines: Iterable[bytes]) -> Iterator[int]:
        """Apply line after line, and yield the revision reached by each."""
        for line in lines:
            if line.strip():
                db.apply(self.batch(line))
                yield db.revision

    def _name(self, table: type) -> str:
        assert table in self._keys, f"{table.__name__} is no table of this journal"
        return table.__name__

    def _change(self, name: str, key: msgspec.Raw, value: msgspec.Raw) -> Change:
        table = self._tables[name]
        read_key: Hashable = msgspec.json.decode(key, type=self._keys[table], dec_hook=self._reader)
        read_value = msgspec.json.decode(value, type=table | None, dec_hook=self._reader)
        return Change(table, read_key, read_value)
