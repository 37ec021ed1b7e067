"""DestinationRules for what is not there: no such host, port, or pods of a subset."""

from __future__ import annotations

from collections.abc import Iterator

from lateen.api.destination_rule import DestinationRule, Subset, TrafficPolicy
from lateen.api.validate.finding import Finding, warning
from lateen.incremental import Database, query
from lateen.names import hostname, labels
from lateen.names.keys import ObjectKey
from lateen.names.labels import Labels
from lateen.policy.problems import destinations, selection
from lateen.registry import facts, services
from lateen.registry.services import Service


def found(db: Database, key: ObjectKey) -> Iterator[Finding]:
    """All that is wrong with one. Requests go on as if it were not there, so nothing is an error."""
    it = db.get(DestinationRule, key)
    if it is None or it.spec.workload_selector is not None:
        return
    host = hostname.full(it.spec.host, key.namespace, facts.mesh_config(db).domain)
    if hostname.is_wildcard(host):
        return
    named = services.by_hostname(db, host)
    service = services.service(db, named) if named else None
    if service is None:
        yield warning(
            "spec.host", f"{destinations.missing(db, it.spec.host, key.namespace)}; the rule has no effect"
        )
    elif service.alias_of is not None:
        other = service.alias_of.hostname
        yield warning("spec.host", f"{host} is another name of {other}, whose rules count: write that name")
    else:
        yield from _ports(service, it.spec.traffic_policy, "spec.trafficPolicy")
        for at, subset in enumerate(it.spec.subsets):
            yield from _ports(service, subset.traffic_policy, f"spec.subsets[{at}].trafficPolicy")
            yield from _empty(db, service, subset, f"spec.subsets[{at}]")


def _ports(service: Service, it: TrafficPolicy | None, path: str) -> Iterator[Finding]:
    for at, one in enumerate(it.port_level_settings if it else ()):
        if one.port and service.port(one.port.number) is None:
            where = f"{path}.portLevelSettings[{at}].port.number"
            yield warning(
                where, f"{destinations.lacks_port(service, one.port.number)}; the settings have no effect"
            )


def _empty(db: Database, service: Service, subset: Subset, path: str) -> Iterator[Finding]:
    """A subset without pods, of a service that has some: while it has none, that is nothing about the subset."""
    own = labels.of(subset.labels)
    if not own or not service.selector or destinations.has_no_pods(db, service):
        return
    namespace = service.key.namespace
    if not selection.selected(db, namespace, labels.of(dict([*service.selector, *own]))) or _disagree(
        service, own
    ):
        has = "; ".join(
            f"{label}: {destinations.listed(_values(db, service, label)) or 'none'}" for label, _ in own
        )
        said = f"subset {subset.name} ({labels.text(own)}) selects none of the pods of Service {namespace}/{service.name}"
        yield warning(f"{path}.labels", f"{said}, which have {has}; requests to it fail")


def _disagree(service: Service, own: Labels) -> bool:
    asked = dict(service.selector)
    return any(asked.get(label, value) != value for label, value in own)


@query
def _values_of(db: Database, namespace: str, selector: Labels, label: str) -> tuple[str, ...]:
    pods = selection.selected(db, namespace, selector)
    return tuple(sorted({labels.get(selection.marks(db, it), label) for it in pods} - {""}))


def _values(db: Database, service: Service, label: str) -> tuple[str, ...]:
    return _values_of(db, service.key.namespace, service.selector, label)
