"""What is wrong between objects that are right alone? Nothing can refuse it when it is written, so it is told."""

from __future__ import annotations

from collections.abc import Iterator

from lateen.api.core import Namespace
from lateen.incremental import Database, query
from lateen.names.keys import ObjectKey
from lateen.names.problems import Problem, Severity
from lateen.policy import delegation, gateways
from lateen.registry import facts
from lateen.registry.facts import Proxy

_INJECTION = "istio-injection"


@query
def problems(db: Database) -> tuple[Problem, ...]:
    """All of them, sorted."""
    return tuple(sorted({*_delegates(db), *_closed(db), *_mislabelled(db)}))


def _delegates(db: Database) -> Iterator[Problem]:
    for it in db.keys(facts.all_virtual_services, facts.ONLY):
        root = ObjectKey(*it)
        for at, part in delegation.parts(db, root):
            path = f"spec.http[{at}].delegate"
            if part.reason:
                yield _told("VirtualService", root, path, f"{part.reason}: this rule is left out")
            elif not part.all:
                said = (
                    f"with the rules of {part.delegate.namespace}/{part.delegate.name} this VirtualService has more than "
                    f"{delegation.MOST_PAIRS} alternatives: those from the delegate's http[{part.taken}] on are left out"
                )
                yield _told("VirtualService", root, path, said)


def _closed(db: Database) -> Iterator[Problem]:
    for it in db.keys(facts.proxies, facts.ONLY):
        proxy = db.get(Proxy, it)
        if proxy is None or proxy.kind != "router":
            continue
        pod = ObjectKey(proxy.namespace, proxy.pod)
        for server, port in gateways.closed(db, pod, proxy.labels):
            said = f"arrives at port {port} of the pods, where the proxy itself listens: it is not opened"
            yield _told("Gateway", server.gateway, f"spec.servers[{server.position}].port", said)


def _mislabelled(db: Database) -> Iterator[Problem]:
    for it in db.keys(facts.namespaces, facts.ONLY):
        found = db.get(Namespace, it)
        said = found.metadata.labels.get(_INJECTION) if found else None
        if said not in (None, "enabled", "disabled"):
            path = f"metadata.labels[{_INJECTION}]"
            message = f'"{said}" says nothing: write "enabled" or "disabled"'
            yield Problem("Namespace", "", ObjectKey(*it).name, path, message, Severity.WARNING)


def _told(kind: str, key: ObjectKey, path: str, message: str) -> Problem:
    return Problem(kind, key.namespace, key.name, path, message, Severity.WARNING)
