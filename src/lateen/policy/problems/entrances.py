"""Gateways that select no pod, and what keeps VirtualServices from their pods."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lateen.api.gateway import Gateway
from lateen.api.networking import VirtualService
from lateen.api.validate.finding import Finding, warning
from lateen.incremental import Database, query
from lateen.names import gateways, hostname, labels
from lateen.names.keys import ObjectKey
from lateen.names.problems import Severity
from lateen.policy import visibility
from lateen.policy.gateways import HTTP
from lateen.policy.problems import destinations, selection, spelling
from lateen.policy.problems.spelling import Known
from lateen.registry import facts

#: So many gateways of a VirtualService are looked at, and so many of its hosts are compared with theirs.
_GATEWAYS, _HOSTS = 20, 100


def in_gateway(db: Database, key: ObjectKey) -> Iterator[Finding]:
    """A selector that selects nothing. An empty one takes every gateway there is."""
    found = db.get(Gateway, key)
    selector = labels.of(found.spec.selector) if found else labels.NONE
    if selector and not selection.gateway_pods(db, key.namespace, selector):
        advice = selection.gateway_advice(db, key.namespace, selector)
        yield warning(
            "spec.selector",
            f"no pod has these labels ({labels.text(selector)}), so nothing is opened{advice}",
        )


def in_virtual_service(db: Database, key: ObjectKey, it: VirtualService) -> Iterator[Finding]:
    """Gateways that do not exist, or exist but do not take what it says."""
    nowhere = all(_is_missing(db, one, key.namespace) for one in it.spec.gateways)
    severity = Severity.ERROR if nowhere else Severity.WARNING  # of a whole object that nobody follows
    for at, written in enumerate(it.spec.gateways):
        path = f"spec.gateways[{at}]"
        if _is_missing(db, written, key.namespace):
            yield Finding(path, _missing(db, written, key.namespace), severity)
        elif written != gateways.MESH and at < _GATEWAYS:
            yield from _closed(db, key, it, _key(written, key.namespace), path)


def _key(written: str, owner: str) -> ObjectKey:
    namespace, _, name = gateways.full(written, owner).partition("/")
    return ObjectKey(namespace, name)


def _is_missing(db: Database, written: str, owner: str) -> bool:
    return written != gateways.MESH and db.get(Gateway, _key(written, owner)) is None


def _missing(db: Database, written: str, owner: str) -> str:
    key = _key(written, owner)
    others = [it for it in _homes(db).get(key.name, ()) if it != key.namespace]
    elsewhere = f"{others[0]}/{key.name}" if others else ""
    nearly = spelling.near(key.name, _spelled(db, key.namespace))
    nearly = f"{key.namespace}/{nearly}" if nearly and key.namespace != owner else nearly
    advised = " or ".join(filter(None, (nearly, elsewhere)))
    said = f"there is no Gateway {key.name} in namespace {key.namespace}"
    return f"{said}: did you mean {advised}?" if advised else said


@query
def _spelled(db: Database, namespace: str) -> Known:
    return spelling.known(ObjectKey(*it).name for it in db.keys(facts.gateways_in, namespace))


@query
def _homes(db: Database) -> Mapping[str, tuple[str, ...]]:
    """In which namespaces there is a Gateway of a name."""
    found: dict[str, list[str]] = {}
    for it in db.keys(facts.all_gateways, facts.ONLY):
        found.setdefault(ObjectKey(*it).name, []).append(ObjectKey(*it).namespace)
    return {name: tuple(it) for name, it in found.items()}


def _closed(
    db: Database, key: ObjectKey, it: VirtualService, gateway: ObjectKey, path: str
) -> Iterator[Finding]:
    lives = homes(db, gateway)
    export_to = it.spec.export_to or facts.mesh_config(db).default_virtual_service_export_to
    if lives and not any(visibility.exported(export_to, key.namespace, one) for one in lives):
        where = destinations.listed(lives)
        yield warning(
            path,
            f"this is not exported to {where}, where the pods of Gateway {gateway} run: it has no effect there",
        )
        return
    opened = _opened(db, gateway)
    domain = facts.mesh_config(db).domain
    for at, written in enumerate(it.spec.hosts[:_HOSTS]):
        host = hostname.full(written.lower(), key.namespace, domain)
        if not _takes(opened, host, key.namespace):
            where = destinations.listed(host for host, _ in opened.forwards) or "none"
            said = f"no server of Gateway {gateway} takes {host} from namespace {key.namespace}; its hosts are {where}"
            yield warning(f"spec.hosts[{at}]", said)


@query
def homes(db: Database, gateway: ObjectKey) -> tuple[str, ...]:
    """The namespaces of the pods that a Gateway selects."""
    found = db.get(Gateway, gateway)
    selector = labels.of(found.spec.selector) if found else labels.NONE
    return tuple(sorted({it.namespace for it in selection.gateway_pods(db, gateway.namespace, selector)}))


@query
def ports(db: Database, gateway: ObjectKey) -> frozenset[int]:
    """The ports of a Gateway's servers that take requests."""
    found = db.get(Gateway, gateway)
    servers = found.spec.servers if found else ()
    return frozenset(it.port.number for it in servers if it.port.protocol.upper() in HTTP)


def named(db: Database, key: ObjectKey, it: VirtualService) -> Iterator[ObjectKey]:
    """The Gateways of a VirtualService that exist."""
    for written in it.spec.gateways:
        if written != gateways.MESH and not _is_missing(db, written, key.namespace):
            yield _key(written, key.namespace)


class _Opened(NamedTuple):
    """(host, namespace or "*") of a Gateway's servers, sorted; and the same with hosts without their star, from behind:
    those below a wildcard stand together."""

    forwards: tuple[tuple[str, str], ...]
    backwards: tuple[tuple[str, str], ...]


@query
def _opened(db: Database, gateway: ObjectKey) -> _Opened:
    found = db.get(Gateway, gateway)
    pairs: set[tuple[str, str]] = set()
    for server in found.spec.servers if found else ():
        for it in server.hosts:
            owner, slash, host = it.lower().rpartition("/")
            pairs.add((host, gateway.namespace if owner == "." else owner if slash else "*"))
    return _Opened(
        tuple(sorted(pairs)), tuple(sorted((host.removeprefix("*")[::-1], owner) for host, owner in pairs))
    )


def _takes(it: _Opened, host: str, namespace: str) -> bool:
    """Whether some server has names in common with a host, for VirtualServices of a namespace."""
    text = host.removeprefix("*")
    cuts = [at for at, letter in enumerate(text) if letter == "."]
    wider = (host, "*", *(f"*{text[at:]}" for at in cuts))
    if any(_has(it.forwards, (one, owner)) for one in wider for owner in ("*", namespace)):
        return True
    if not hostname.is_wildcard(host):
        return False
    end = text[::-1]
    at = bisect.bisect_left(it.backwards, (end, ""))
    while at < len(it.backwards) and it.backwards[at][0].startswith(end):
        if it.backwards[at][1] in ("*", namespace):
            return True
        at += 1
    return False


def _has(found: tuple[tuple[str, str], ...], pair: tuple[str, str]) -> bool:
    at = bisect.bisect_left(found, pair)
    return at < len(found) and found[at] == pair
