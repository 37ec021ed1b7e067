"""What must run again? Pure functions over tables of facts, recomputed only where a change reaches.

A program is a set of *tables* (the ground facts) and *queries* (pure functions of a ``Database``).
A query's result is remembered together with everything it read.
When facts change, only the queries which read those facts, directly or through other queries, are considered
again; and a query whose sources turn out to be equal is not run at all.

There is no other way to invalidate anything.
"""

from lateen.incremental.database import Change, CycleError, Database, Index, Watch
from lateen.incremental.query import Query, mapped, query

__all__ = ["Change", "CycleError", "Database", "Index", "Query", "Watch", "mapped", "query"]
