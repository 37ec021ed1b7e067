"""DestinationRules for hosts and ports that are not there. A subset without pods is told where something is sent to it."""

from __future__ import annotations

from collections.abc import Iterator

from lateen.api.destination_rule import DestinationRule, TrafficPolicy
from lateen.api.validate.finding import Finding, warning
from lateen.incremental import Database
from lateen.names import hostname
from lateen.names.keys import ObjectKey
from lateen.policy.problems import destinations
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


def _ports(service: Service, it: TrafficPolicy | None, path: str) -> Iterator[Finding]:
    for at, one in enumerate(it.port_level_settings if it else ()):
        if one.port and service.port(one.port.number) is None:
            where = f"{path}.portLevelSettings[{at}].port.number"
            yield warning(
                where, f"{destinations.lacks_port(service, one.port.number)}; the settings have no effect"
            )
