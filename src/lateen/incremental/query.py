"""How does one ask? Queries are ordinary functions of a database, which are remembered."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from lateen.incremental.database import Database
    from lateen.incremental.node import Memo

P = ParamSpec("P")
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Query(Generic[P, T]):
    """A pure function of the database. Call it like a function; ``.pure`` is the function."""

    patches = False  # whether `run` wants to know every source that changed, not just the first

    def __init__(self, pure: Callable[Concatenate[Database, P], T]) -> None:
        self.pure = pure
        self.name = pure.__name__
        self.__doc__ = pure.__doc__

    def __call__(self, db: Database, *args: P.args, **kwargs: P.kwargs) -> T:
        assert not kwargs, "queries take positional arguments only"
        return db.read(self, args)

    def run(self, db: Database, memo: Memo) -> T:
        """Compute the answer anew."""
        return cast("Callable[..., T]", self.pure)(db, *memo.args)

    def __repr__(self) -> str:
        return f"<query {self.name}>"


def query(pure: Callable[Concatenate[Database, P], T]) -> Query[P, T]:
    """Remember the results of a pure function, and run it again only if what it read changed."""
    return Query(pure)


class Mapped(Query[P, "Mapping[K, T]"]):
    """``{key: each(db, key, *given(...)) for key in keys(db, ...)}``, patched rather than rebuilt."""

    patches = True

    def __init__(
        self,
        keys: Query[P, tuple[K, ...]],
        each: Query[Concatenate[K, ...], T],
        given: Callable[P, tuple[Any, ...]],
    ) -> None:
        super().__init__(self._rebuild)
        self.keys, self.each, self.given = keys, each, given
        self.name = f"mapped({keys.name}, {each.name})"

    def _rebuild(self, db: Database, /, *args: P.args, **kwargs: P.kwargs) -> Mapping[K, T]:
        given = self.given(*args, **kwargs)
        return {key: db.read(self.each, (key, *given)) for key in self.keys(db, *args, **kwargs)}

    def run(self, db: Database, memo: Memo) -> Mapping[K, T]:
        """Patch the former answer when only entries changed; rebuild it when the keys did."""
        only_entries = memo.value is not None and all(it.query is self.each for it in memo.changed)
        if not memo.changed or not only_entries:
            return super().run(db, memo)
        db.keep_sources(memo)
        return {**memo.value, **{entry.args[0]: entry.value for entry in memo.changed}}


def mapped(
    keys: Query[P, tuple[K, ...]],
    each: Query[Concatenate[K, ...], T],
    given: Callable[P, tuple[Any, ...]] = lambda *_, **__: (),
) -> Query[P, Mapping[K, T]]:
    """Apply one query to every key which another query names.

    ``given`` says which of the caller's arguments each entry may depend on: the fewer it names, the more callers
    share the entry; without it, an entry depends on its key alone.
    """
    return Mapped(keys, each, given)
