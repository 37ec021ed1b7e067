"""What is wrong between objects that are right alone: nothing can refuse it when it is written, so it is told.

A query for each object, so that work stays in proportion to what changed. No view asks any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeAlias

from lateen.api.core import Namespace
from lateen.api.validate.finding import Finding, shown, warning
from lateen.incremental import Database, Index, Query, mapped, query
from lateen.names.keys import ObjectKey, ProxyKey
from lateen.names.problems import Problem, Severity
from lateen.policy import gateways
from lateen.policy.problems import destination_rules, entrances, virtual_services, workloads
from lateen.registry import facts
from lateen.registry.facts import Proxy

#: So much is told of one object, as at admission.
MOST = 50

_INJECTION = "istio-injection"
_Problems: TypeAlias = tuple[Problem, ...]


@query
def problems(db: Database) -> _Problems:
    """All of them, sorted."""
    return tuple(sorted({one for it in _PARTS for found in it.of_all(db).values() for one in found}))


def looks(db: Database) -> Iterator[None]:
    """Look at one object after the other, so that others may have their turn; ``problems`` remembers what was seen."""
    for it in _PARTS:
        for key in it.keys(db):
            it.of_one(db, key)
            yield


class _Part:
    """The objects of a kind, and what is wrong with each."""

    def __init__(self, keys: Query[[], tuple[Any, ...]], of_one: Query[[Any], _Problems]) -> None:
        self.keys, self.of_one = keys, of_one
        self.of_all = mapped(keys, of_one)


def _of_each(
    kind: str, listed: Index[str, Any], look: Callable[[Database, ObjectKey], Iterable[Finding]]
) -> _Part:
    """What is wrong with each object of a kind."""

    @query
    def keys(db: Database) -> tuple[ObjectKey, ...]:
        return tuple(ObjectKey(*it) for it in db.keys(listed, facts.ONLY))

    @query
    def each(db: Database, key: ObjectKey) -> _Problems:
        found = [
            Problem(kind, *key, it.path, shown(it.message), it.severity)
            for it in islice(look(db, key), MOST + 1)
        ]
        if len(found) > MOST:
            found[MOST:] = [
                Problem(
                    kind, *key, "", f"more than {MOST} problems: the others are not told", Severity.WARNING
                )
            ]
        return tuple(found)

    return _Part(keys, each)


def _mislabelled(db: Database, key: ObjectKey) -> Iterator[Finding]:
    found = db.get(Namespace, key)
    said = found.metadata.labels.get(_INJECTION) if found else None
    if said not in (None, "enabled", "disabled"):
        message = f'"{said}" says nothing: write "enabled" or "disabled"'
        yield warning(f"metadata.labels[{_INJECTION}]", message)


@query
def _proxies(db: Database) -> tuple[ProxyKey, ...]:
    return tuple(ProxyKey(*it) for it in db.keys(facts.proxies, facts.ONLY))


@query
def _closed(db: Database, key: ProxyKey) -> _Problems:
    proxy = db.get(Proxy, key)
    if proxy is None or proxy.kind != "router":
        return ()
    pod = ObjectKey(proxy.namespace, proxy.pod)
    return tuple(
        Problem(
            "Gateway", *server.gateway, f"spec.servers[{server.position}].port",
            f"arrives at port {port} of the pods, where the proxy itself listens: it is not opened", Severity.WARNING,
        )
        for server, port in gateways.closed(db, pod, proxy.labels)
    )  # fmt: skip


_PARTS = (
    _of_each("VirtualService", facts.all_virtual_services, virtual_services.found),
    _of_each("DestinationRule", facts.all_destination_rules, destination_rules.found),
    _of_each("Gateway", facts.all_gateways, entrances.in_gateway),
    _of_each("Service", facts.all_services, workloads.in_service),
    _of_each("PeerAuthentication", facts.all_peer_authentications, workloads.in_peer_authentication),
    _of_each("Namespace", facts.namespaces, _mislabelled),
    _Part(_proxies, _closed),
)
