"""To whom does a VirtualService leave what, and how much of it is taken? Counts, before anything is put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lateen.api.networking import Delegate, HTTPRoute, VirtualService
from lateen.incremental import Database, query
from lateen.names.keys import ObjectKey
from lateen.policy.visibility import exported
from lateen.registry import facts

#: Every alternative of a rule meets every one of its delegate's rules: two objects could make billions of that. So many
#: pairs count for one VirtualService; the rules of delegates beyond them are left out.
MOST_PAIRS = 30_000


class Part(NamedTuple):
    """A rule that leaves the rest to another VirtualService: of its rules the first ``taken`` stand in its place."""

    delegate: ObjectKey
    taken: int = 0
    all: bool = True  # or some are too many
    reason: str = ""  # why nothing can be left to it


@query
def parts(db: Database, root: ObjectKey) -> tuple[tuple[int, Part], ...]:
    """By the positions of the rules in ``spec.http`` that have a delegate."""
    rule = db.get(VirtualService, root)
    left = MOST_PAIRS
    found = []
    for at, one in enumerate(rule.spec.http if rule and rule.spec.hosts else ()):
        if one.delegate is not None:
            part, left = _part(db, one, one.delegate, root, left)
            found.append((at, part))
    return tuple(found)


def _part(db: Database, rule: HTTPRoute, delegate: Delegate, root: ObjectKey, left: int) -> tuple[Part, int]:
    key = ObjectKey(delegate.namespace or root.namespace, delegate.name)
    found = db.get(VirtualService, key)
    reason = _lacking(db, found, key, root)
    if found is None or reason:
        return Part(key, reason=reason), left
    taken, pairs = _within(rule, found.spec.http, left)
    return Part(key, taken, taken == len(found.spec.http)), left - pairs


def _within(rule: HTTPRoute, others: Sequence[HTTPRoute], left: int) -> tuple[int, int]:
    """(how many of them are taken, how many pairs that makes)."""
    pairs = 0
    for at, it in enumerate(others):
        more = max(1, len(rule.match)) * max(1, len(it.match))
        if pairs + more > left:
            return at, pairs
        pairs += more
    return len(others), pairs


def _lacking(db: Database, found: VirtualService | None, key: ObjectKey, root: ObjectKey) -> str:
    who = f"VirtualService {key.namespace}/{key.name}"
    if found is None:
        return f"{who} does not exist"
    if found.spec.hosts:
        return f"{who} has hosts of its own, so nothing can be left to it"
    export_to = found.spec.export_to or facts.mesh_config(db).default_virtual_service_export_to
    return (
        ""
        if exported(export_to, key.namespace, root.namespace)
        else f"{who} is not exported to {root.namespace}"
    )
