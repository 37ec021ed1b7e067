"""Destinations that lead nowhere: a host, subset or port that nobody has, as routing would look for it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from lateen.api.networking import Destination
from lateen.api.validate.finding import Finding, warning
from lateen.incremental import Database, query
from lateen.names import hostname, labels
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.names.labels import Labels
from lateen.names.ports import Protocol
from lateen.names.problems import Severity
from lateen.policy import traffic, visibility
from lateen.policy.problems import selection, spelling
from lateen.policy.problems.spelling import Known
from lateen.registry import facts, services
from lateen.registry.services import Service

#: So many names are listed in a message.
_LISTED = 5


class Use(enum.Enum):
    """What becomes of a destination, so what is lost when it leads nowhere."""

    SENT = "requests that are sent there fail"
    COPIED = "the copies are lost"
    UNUSED = "nothing is sent there as long as its weight is 0"
    IDLE = "nothing is sent there, since the rule has no effect"

    @property
    def severity(self) -> Severity:
        """An error where requests surely fail."""
        return Severity.ERROR if self is Use.SENT else Severity.WARNING


class Circumstances(NamedTuple):
    """Of whom a destination is true: whose short names count, which namespaces' proxies follow it ("" stands for those
    that see what all see), and which ports may have been called (None: nobody knows)."""

    owner: str
    callers: tuple[str, ...]
    called: frozenset[int] | None = None


def wrong(db: Database, it: Destination, path: str, of: Circumstances, use: Use) -> Iterator[Finding]:
    """What is wrong with a destination."""
    host = hostname.full(it.host, of.owner, facts.mesh_config(db).domain)
    if hostname.is_wildcard(host) or not host:
        return
    named = services.by_hostname(db, host)
    if named is None:
        yield Finding(f"{path}.host", f"{missing(db, it.host, of.owner)}; {use.value}", use.severity)
        return
    yield from _hidden(db, named, f"{path}.host", of, use)
    service = services.service(db, services.meant(db, named))
    if service is None:
        return
    yield from _port(service, it, path, of, use)
    if it.subset:
        yield from _subset(db, service, it.subset, f"{path}.subset", of, use)
    if use is Use.SENT and has_no_pods(db, service):
        message = f"Service {_name(service)} selects no pod ({labels.text(service.selector)}), so requests fail while that is so"
        yield warning(f"{path}.host", message)


def has_no_pods(db: Database, service: Service) -> bool:
    """Whether a service selects pods, and there are none. Who writes endpoints by hand selects none."""
    return bool(service.selector) and not selection.selected(db, service.key.namespace, service.selector)


def _name(service: Service) -> str:
    return f"{service.key.namespace}/{service.name}"


# --- host ------------------------------------------------------------------------------------


def missing(db: Database, host: str, owner: str) -> str:
    """Why a host that an object of a namespace writes is no service, and which is nearly meant."""
    wanted = services.named_object(db, hostname.full(host, owner, facts.mesh_config(db).domain))
    advised = meant(db, host, owner)
    if wanted is not None:
        said = f"there is no Service {wanted.name} in namespace {wanted.namespace}"
        return f"{said}: did you mean {advised}?" if advised else said
    if advised:
        why = "" if host.endswith(".") else ", since only names without a dot are completed"
        return f'"{host}" is no service{why}: write {advised}'
    return f'"{host}" is no Service of this cluster, and a ServiceEntry that defines it has no effect in this release'


@query
def meant(db: Database, host: str, owner: str) -> str:
    """Which services a host that is none was perhaps to name, as an object of a namespace would write them."""
    domain = facts.mesh_config(db).domain
    wanted = services.named_object(db, hostname.full(host, owner, domain))
    if wanted is None:
        return _written_halfway(db, host)
    nearly = spelling.near(wanted.name, _spelled(db, wanted.namespace))
    nearly = nearly if "." not in host or not nearly else f"{nearly}.{wanted.namespace}.svc.{domain}"
    others = [it for it in _homes(db).get(wanted.name, ()) if it != wanted.namespace]
    elsewhere = f"{wanted.name}.{others[0]}.svc.{domain}" if others else ""
    return " or ".join(filter(None, (nearly, elsewhere)))


def _written_halfway(db: Database, host: str) -> str:
    """The full name of a service that is called ``name.namespace``, as DNS would allow, or with a dot at its end."""
    plain = host.removesuffix(".")
    whole = plain if services.by_hostname(db, plain) else ""
    name, _, namespace = plain.removesuffix(".svc").partition(".")
    longer = hostname.of_service(name, namespace, facts.mesh_config(db).domain).hostname
    return whole or (longer if services.by_hostname(db, longer) else "")


@query
def _spelled(db: Database, namespace: str) -> Known:
    return spelling.known(ObjectKey(*it).name for it in db.keys(facts.services_in, namespace))


@query
def _homes(db: Database) -> Mapping[str, tuple[str, ...]]:
    """In which namespaces there is a Service of a name."""
    found: dict[str, list[str]] = {}
    for it in db.keys(facts.all_services, facts.ONLY):
        found.setdefault(ObjectKey(*it).name, []).append(ObjectKey(*it).namespace)
    return {name: tuple(it) for name, it in found.items()}


def _hidden(db: Database, key: ServiceKey, path: str, of: Circumstances, use: Use) -> Iterator[Finding]:
    who = _lacking(of.callers, lambda it: visibility.is_visible(db, key, it))
    if who:
        severity = use.severity if len(who) == len(of.callers) else Severity.WARNING
        message = f"{key.hostname} is not exported to {_shown(who)}, where this is followed; {use.value}"
        yield Finding(path, message, severity)


def _lacking(callers: tuple[str, ...], has: Callable[[str], bool]) -> tuple[str, ...]:
    """The callers that lack something: all, or those that are known by name. What others lack, they may never ask for."""
    lacking = tuple(it for it in callers if not has(it))
    return lacking if len(lacking) == len(callers) else tuple(filter(None, lacking))


def _shown(namespaces: Iterable[str]) -> str:
    return listed([it or "other namespaces" for it in namespaces])


def listed(names: Iterable[str]) -> str:
    """Some names, and how many more."""
    found = list(names)
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return ", ".join(found[:_LISTED]) + more


# --- port ------------------------------------------------------------------------------------


def _port(service: Service, it: Destination, path: str, of: Circumstances, use: Use) -> Iterator[Finding]:
    if it.port is not None:
        if service.port(it.port.number) is None:
            message = f"{lacks_port(service, it.port.number)}; {use.value}"
            yield Finding(f"{path}.port.number", message, use.severity)
        return
    # A service with one port is reached there, else at the port that was called.
    lost = sorted(one for one in of.called or () if service.port(one) is None)
    if len(service.ports) == 1 or not lost:
        return
    called = listed(str(one) for one in lost)
    said = f"say which port, since Service {_name(service)} does not have the one that was called ({called}), {_ports(service)}"
    severity = use.severity if of.called and len(lost) == len(of.called) else Severity.WARNING
    yield Finding(f"{path}.port", f"{said}; {use.value}", severity)


def lacks_port(service: Service, number: int) -> str:
    """What to say of a port that a service does not have: perhaps it is the one of its pods."""
    behind = next((one for one in service.ports if one.target == str(number)), None)
    advice = f": {number} is the port of its pods, write {behind.number}" if behind else ""
    return f"Service {_name(service)} has no port {number}, {_ports(service)}{advice}"


def _ports(service: Service) -> str:
    found = [one for one in service.ports if one.protocol is not Protocol.UDP]
    if not found:
        return "it lists none"
    return f"it has {listed(f'{one.number} ({one.name})' if one.name else str(one.number) for one in found)}"


# --- subset ----------------------------------------------------------------------------------


def _subset(
    db: Database, service: Service, subset: str, path: str, of: Circumstances, use: Use
) -> Iterator[Finding]:
    key = service.key
    who = _lacking(of.callers, lambda it: subset in _subsets(db, key, it))
    if not who:
        yield from _empty(db, service, subset, path, of, use)
        return
    ruled = next((it for it in who if traffic.rule_for(db, key, it)), None)
    if ruled is None:
        said = f"no DestinationRule is for {key.hostname}: write one with subset {subset}"
    else:
        has = listed(sorted(_subsets(db, key, ruled))) or "none"
        rule = traffic.rule_for(db, key, ruled)
        said = f"there is no subset {subset} of {key.hostname}: DestinationRule {rule} defines {has}"
    if len(who) == len(of.callers):
        yield Finding(path, f"{said}; {use.value}", use.severity)
    else:
        yield warning(path, f"for callers in {_shown(who)}: {said}; {use.value}")


@query
def _subsets(db: Database, key: ServiceKey, client: str) -> Mapping[str, Labels]:
    return dict(traffic.subsets(db, traffic.rule_for(db, key, client)))


def _empty(
    db: Database, service: Service, subset: str, path: str, of: Circumstances, use: Use
) -> Iterator[Finding]:
    """Of a service that has pods: while it has none, that is nothing about the subset. For rollouts it may pass."""
    found = (_subsets(db, service.key, it).get(subset, labels.NONE) for it in of.callers)
    own = next(filter(None, found), labels.NONE)
    if not own or not service.selector or use not in (Use.SENT, Use.COPIED) or has_no_pods(db, service):
        return
    both = tuple(sorted({*service.selector, *own}))
    if not selection.selected(db, service.key.namespace, both):
        has = "; ".join(f"{label}: {listed(_values(db, service, label)) or 'none'}" for label, _ in own)
        said = f"subset {subset} ({labels.text(own)}) selects none of the pods of Service {_name(service)}, which have {has}"
        yield warning(path, f"{said}; {use.value}")


def _values(db: Database, service: Service, label: str) -> tuple[str, ...]:
    return selection.values_of(db, service.key.namespace, service.selector, label)
