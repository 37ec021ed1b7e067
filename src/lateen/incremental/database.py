"""What is known at this revision? Tables of facts, and the memory of every query asked of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar

from lateen.incremental.node import Cell, Memo, State, mark

if TYPE_CHECKING:
    from lateen.incremental.query import Query

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Change:
    """One fact that is different now. ``value`` is None when it is gone."""

    table: type
    key: Hashable
    value: object | None


class Index(Generic[K, V]):
    """A way to find objects of a table: the values under which each object is listed."""

    def __init__(self, table: type[V], values: Callable[[V], Iterable[K]], name: str = "") -> None:
        self.table = table
        self.values = values
        self.name = name or f"index of {table.__name__}"

    def __repr__(self) -> str:
        return self.name


class Watch(Generic[T]):
    """A query whose answer someone is waiting for."""

    def __init__(self, db: Database, memo: Memo) -> None:
        self._db, self.memo = db, memo
        self._holders = 1

    @property
    def value(self) -> T:
        """The answer at the present revision; raises what the query raises, and tries again at the next read."""
        self._db.refresh(self.memo)
        value: T = self.memo.value
        return value

    def hold(self) -> None:
        """One more waits for the same answer."""
        self._holders += 1

    def close(self) -> None:
        """One fewer waits; the last one ends the watch."""
        self._holders -= 1
        if self._holders <= 0:
            self.memo.watched = False
            self._db.watches.pop(self.memo, None)


class _Move(NamedTuple):
    """A change with its places in every index: (index, values before, values after)."""

    change: Change
    listed: tuple[tuple[Index[Any, Any], dict[Any, None], dict[Any, None]], ...]


def _values(index: Index[Any, Any], it: Any) -> dict[Any, None]:
    return {} if it is None else dict.fromkeys(index.values(it))


#: So many memos and cells are no growth.
GROWTH = 256


class CycleError(RuntimeError):
    """Queries ask each other in a circle; the message is the path."""


class Database:
    """All facts at one revision. Only ``apply`` moves it to the next."""

    def __init__(self, indexes: Iterable[Index[Any, Any]] = ()) -> None:
        self.revision = 0
        self.watches: dict[Memo, Watch[Any]] = {}
        self.executed: list[Memo] = []  # what ran since the last apply; for tests and explanations
        self._tables: dict[type, dict[Any, Any]] = defaultdict(dict)
        self._indexes: dict[type, list[Index[Any, Any]]] = defaultdict(list)
        self._buckets: dict[tuple[Index[Any, Any], Any], dict[Any, None]] = {}
        self._cells: dict[Hashable, Cell] = {}
        self._memos: dict[Query[Any, Any], dict[tuple[Any, ...], Memo]] = defaultdict(dict)
        self._reading: list[tuple[Memo, dict[Cell | Memo, int]]] = []
        self._memo_count, self._kept = 0, 0  # memos now; memos and cells after the last sweep
        self._passing: list[Memo] | None = None  # made since `peeking` began
        for index in indexes:
            self._indexes[index.table].append(index)

    # --- facts -----------------------------------------------------------------------------

    def get(self, table: type[V], key: Hashable) -> V | None:
        """The object under this key, or None. Reading an absent object is a dependency too."""
        self._depend_on_cell((table, key))
        found: V | None = self._tables[table].get(key)
        return found

    def keys(self, index: Index[K, V], value: K) -> tuple[Any, ...]:
        """The keys listed under this value, in order. Does not depend on the objects' contents."""
        assert index in self._indexes[index.table], f"{index} was not given to the database"
        self._depend_on_cell((index, value))
        return tuple(sorted(self._buckets.get((index, value), ())))

    def apply(self, changes: Iterable[Change]) -> list[Watch[Any]]:
        """Move to the next revision, and return the watches whose answer may be different."""
        assert not self._reading, "facts cannot change while a query is running"
        moves = list(self._planned(changes))  # index functions may raise: then nothing is stored
        touched: dict[Cell, None] = {}
        for move in moves:
            touched.update(dict.fromkeys(self._store(move)))
        self.revision += 1
        self.executed.clear()
        return [self.watches[memo] for memo in mark(list(touched))]

    def _planned(self, changes: Iterable[Change]) -> Iterator[_Move]:
        """What differs, and under which values of which index it was listed and will be."""
        planned: dict[tuple[type, Hashable], object | None] = {}
        for it in changes:
            place = (it.table, it.key)
            old = planned[place] if place in planned else self._tables[it.table].get(it.key)
            planned[place] = it.value
            if old != it.value:
                indexes = self._indexes[it.table]
                yield _Move(
                    it, tuple((index, _values(index, old), _values(index, it.value)) for index in indexes)
                )

    def _store(self, move: _Move) -> Iterator[Cell]:
        change, table = move.change, self._tables[move.change.table]
        if change.value is None:
            del table[change.key]
        else:
            table[change.key] = change.value
        yield from self._existing((change.table, change.key))
        for index, before, after in move.listed:
            for value in before:
                if value not in after:
                    self._unlist(index, value, change.key)
                    yield from self._existing((index, value))
            for value in after:
                if value not in before:
                    self._buckets.setdefault((index, value), {})[change.key] = None
                    yield from self._existing((index, value))

    def _unlist(self, index: Index[Any, Any], value: Any, key: Any) -> None:
        bucket = self._buckets[index, value]
        del bucket[key]
        if not bucket:
            del self._buckets[index, value]

    def _existing(self, label: tuple[Hashable, ...]) -> Iterator[Cell]:
        if label in self._cells:
            yield self._cells[label]

    # --- queries ---------------------------------------------------------------------------

    def watch(self, query: Query[P, T], *args: P.args, **_: P.kwargs) -> Watch[T]:
        """Keep asking this query: ``apply`` reports it whenever its answer may have changed.

        Asking for what is watched already returns the same watch, which then has one more holder.
        """
        memo = self._memo(query, args)
        if memo in self.watches:
            watch: Watch[T] = self.watches[memo]
            watch.hold()
            return watch
        memo.watched = True
        made: Watch[T] = Watch(self, memo)
        self.watches[memo] = made
        return made

    def read(self, query: Query[Any, T], args: tuple[Any, ...]) -> T:
        """The answer of a query, for whoever is running now."""
        memo = self._memos[query].get(args) or self._memo(query, args)
        if self._reading:
            # Noted before the refresh, so that a reader of a failing query is told when it may succeed.
            sources = self._reading[-1][1]
            sources.setdefault(memo, len(sources))
        if memo.state is not State.CLEAN:
            self.refresh(memo)
        value: T = memo.value
        return value

    def refresh(self, memo: Memo) -> None:
        """Make a memo clean, running its query only if something it read is different."""
        if memo.suspects:
            self._clear_suspects(memo)
        if memo.state is State.STALE:
            self._run(memo)
        memo.state = State.CLEAN
        memo.suspects.clear()
        memo.changed.clear()

    def _clear_suspects(self, memo: Memo) -> None:
        # In the order they were read: a later source may only exist because of an earlier one.
        for suspect in sorted(memo.suspects, key=lambda it: memo.sources.get(it, -1)):
            if memo.state is State.STALE and not memo.query.patches:
                return
            if suspect in memo.sources:
                self.refresh(suspect)

    def keep_sources(self, memo: Memo) -> None:
        """Declare that the running query depends on just what it did before."""
        self._reading[-1][1].update(memo.sources)

    def _run(self, memo: Memo) -> None:
        if memo.running:
            raise CycleError(" -> ".join([*(repr(reader) for reader, _ in self._reading), repr(memo)]))
        sources: dict[Cell | Memo, int] = {}
        self._reading.append((memo, sources))
        memo.running = True
        try:
            value = memo.query.run(self, memo)
        finally:
            self._reading.pop()
            memo.running = False
            memo.replace_sources(sources)
        self.executed.append(memo)
        if value != memo.value:
            memo.value = value
            for observer in memo.observers:
                observer.state = State.STALE
                observer.changed[memo] = None

    def _memo(self, query: Query[Any, Any], args: tuple[Any, ...]) -> Memo:
        memos = self._memos[query]
        if args not in memos:
            memos[args] = Memo(query, args)
            self._memo_count += 1
            if self._passing is not None:
                self._passing.append(memos[args])
        return memos[args]

    @contextmanager
    def peeking(self) -> Iterator[None]:
        """For who asks once, from outside of queries: what is asked inside is not remembered beyond it."""
        assert not self._reading, "a query remembers what it asks"
        assert self._passing is None, "peeking already"
        passing: list[Memo] = []
        self._passing = passing
        try:
            yield
        finally:
            self._passing = None
            self._forget([it for it in passing if it.idle])

    @property
    def grown(self) -> bool:
        """Whether it is time to sweep: there is twice as much as the last sweep left, and then some."""
        return self._size > 2 * self._kept + GROWTH

    @property
    def _size(self) -> int:
        return self._memo_count + len(self._cells)

    def sweep(self) -> int:
        """Forget every memo that no watch leads to, and cells nobody reads; return how many memos."""
        forgotten = self._forget([it for memos in self._memos.values() for it in memos.values() if it.idle])
        self._cells = {label: cell for label, cell in self._cells.items() if cell.observers}
        self._kept = self._size
        return forgotten

    def _forget(self, idle: list[Memo]) -> int:
        forgotten = 0
        while idle:
            memo = idle.pop()
            sources = memo.sources
            memo.replace_sources({})
            del self._memos[memo.query][memo.args]
            forgotten += 1
            for it in sources:
                if isinstance(it, Memo):
                    if it.idle:
                        idle.append(it)
                elif not it.observers:
                    self._cells.pop(it.label, None)
        self._memo_count -= forgotten
        return forgotten

    def _depend_on_cell(self, label: tuple[Any, ...]) -> None:
        if not self._reading:
            return
        cell = self._cells.get(label)
        if cell is None:
            cell = self._cells[label] = Cell(label)
        sources = self._reading[-1][1]
        sources.setdefault(cell, len(sources))
