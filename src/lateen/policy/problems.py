"""What is wrong between objects that are right alone? Nothing can refuse it when it is written, so it is told."""

from __future__ import annotations

from collections.abc import Iterator

from lateen.api.networking import Delegate, VirtualService
from lateen.incremental import Database, query
from lateen.names.keys import ObjectKey
from lateen.names.problems import Problem, Severity
from lateen.policy import gateways, routing
from lateen.registry import facts
from lateen.registry.facts import Proxy


@query
def problems(db: Database) -> tuple[Problem, ...]:
    """All of them, sorted."""
    return tuple(sorted({*_delegates(db), *_closed(db)}))


def _delegates(db: Database) -> Iterator[Problem]:
    for it in db.keys(facts.all_virtual_services, facts.ONLY):
        root = ObjectKey(*it)
        rule = db.get(VirtualService, root)
        for at, one in enumerate(rule.spec.http if rule and rule.spec.hosts else ()):
            if one.delegate and routing.delegated(db, one.delegate, root) is None:
                said = f"{_lacking(db, one.delegate, root)}: this rule is left out"
                yield _told("VirtualService", root, f"spec.http[{at}].delegate", said)


def _lacking(db: Database, delegate: Delegate, root: ObjectKey) -> str:
    namespace = delegate.namespace or root.namespace
    found = db.get(VirtualService, ObjectKey(namespace, delegate.name))
    who = f"VirtualService {namespace}/{delegate.name}"
    if found is None:
        return f"{who} does not exist"
    if found.spec.hosts:
        return f"{who} has hosts of its own, so nothing can be left to it"
    return f"{who} is not exported to {root.namespace}"


def _closed(db: Database) -> Iterator[Problem]:
    for it in db.keys(facts.proxies, facts.ONLY):
        proxy = db.get(Proxy, it)
        if proxy is None or proxy.kind != "router":
            continue
        pod = ObjectKey(proxy.namespace, proxy.pod)
        for server, port in gateways.closed(db, pod, proxy.labels):
            said = f"arrives at port {port} of the pods, where the proxy itself listens: it is not opened"
            yield _told("Gateway", server.gateway, f"spec.servers[{server.position}].port", said)


def _told(kind: str, key: ObjectKey, path: str, message: str) -> Problem:
    return Problem(kind, key.namespace, key.name, path, message, Severity.WARNING)
