"""What do rules want to know of who calls? Callers without what nobody asks for are equal, and share what they are told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lateen.api.networking import HTTPMatchRequest, L4MatchAttributes, VirtualService
from lateen.compile.delegates import http_rules
from lateen.compile.horizons import Caller, horizon
from lateen.incremental import Database, query
from lateen.names.keys import ObjectKey
from lateen.names.labels import Labels
from lateen.registry import facts


class Asked(NamedTuple):
    """Labels of callers that some rule names, and whether one names their namespace."""

    labels: frozenset[str] = frozenset()
    namespace: bool = False

    @classmethod
    def union(cls, found: Iterable[Asked]) -> Asked:
        """What any of them asks."""
        labels: set[str] = set()
        namespace = False
        for it in found:
            labels |= it.labels
            namespace = namespace or it.namespace
        return cls(frozenset(labels), namespace)


def reduced(caller: Caller, asked: Asked) -> Caller:
    """The caller without what nobody asks for."""
    kept = tuple(it for it in caller.labels if it[0] in asked.labels)
    return Caller(caller.horizon, caller.namespace if asked.namespace else "", kept)


@query
def asked_by(db: Database, rule: ObjectKey) -> Asked:
    """What a VirtualService asks of those who send requests, its delegates' rules included."""
    return _asked(match for it in http_rules(db, rule) for match in it.match)


@query
def asked_by_connections(db: Database, rule: ObjectKey) -> Asked:
    """What it asks of those who open connections."""
    found = db.get(VirtualService, rule)
    return _asked(match for it in (found.spec.tcp if found else ()) for match in it.match)


def _asked(matches: Iterable[HTTPMatchRequest | L4MatchAttributes]) -> Asked:
    return Asked.union(Asked(frozenset(it.source_labels), bool(it.source_namespace)) for it in matches)


@query
def caller(db: Database, namespace: str, labels: Labels) -> Caller:
    """What of a workload anything outbound may depend on."""
    asked = _labels_asked(db)
    return Caller(horizon(db, namespace), namespace, tuple(it for it in labels if it[0] in asked))


@query
def _labels_asked(db: Database) -> frozenset[str]:
    """The labels of callers that some VirtualService distinguishes."""
    rules = [ObjectKey(*it) for it in db.keys(facts.all_virtual_services, facts.ONLY)]
    asked = (ask(db, it) for it in rules for ask in (asked_by, asked_by_connections))
    return Asked.union(asked).labels


@query
def asked_by_any_connection(db: Database) -> Asked:
    """What some rule for connections asks."""
    rules = (ObjectKey(*it) for it in db.keys(facts.all_virtual_services, facts.ONLY))
    return Asked.union(asked_by_connections(db, it) for it in rules)
