"""What applies to traffic for a service? The DestinationRule that wins, and its policy for a subset and port."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lateen.api.destination_rule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    DestinationRule,
    DestinationRuleSpec,
    LoadBalancerSettings,
    OutlierDetection,
    PortTrafficPolicy,
)
from lateen.api.destination_rule import TrafficPolicy as Written
from lateen.incremental import Database, query
from lateen.names import hostname, labels
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.names.labels import Labels
from lateen.policy.visibility import exported
from lateen.registry import facts


@dataclass(frozen=True, slots=True)
class TrafficPolicy:
    """The four parts, each from the nearest level that sets it."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


@query
def rule_for(db: Database, service: ServiceKey, client: str) -> ObjectKey | None:
    """The client's own rule wins, then the service owner's, then the root namespace's; of several, the oldest.

    Istio: https://istio.io/latest/docs/ops/best-practices/traffic-management/#cross-namespace-configuration
    """
    root = facts.mesh_config(db).root_namespace
    for namespace in dict.fromkeys((client, service.namespace, root)):
        found = sorted(_candidates(db, namespace, service, client))
        if found:
            return found[0][-1]
    return None


def _candidates(
    db: Database, namespace: str, service: ServiceKey, client: str
) -> Iterator[tuple[tuple[bool, int, str], str, ObjectKey]]:
    exact = _written_for(db, namespace, service.hostname)
    settings = facts.mesh_config(db)
    for it in (*exact, *db.keys(facts.wildcard_rules_in, namespace)):
        rule = db.get(DestinationRule, it)
        if rule is None or rule.spec.workload_selector is not None:
            continue
        host = hostname.full(rule.spec.host, namespace, settings.domain)
        export_to = rule.spec.export_to or settings.default_destination_rule_export_to
        if hostname.matches(host, service.hostname) and exported(export_to, namespace, client):
            yield hostname.specificity(host), rule.metadata.creation_timestamp, it


def _written_for(db: Database, namespace: str, host: str) -> Iterator[ObjectKey]:
    """The rules of a namespace for a full name, however they write it."""
    yield from (ObjectKey(*it) for it in db.keys(facts.rules_for_host, (namespace, host)))
    short = host.removesuffix(f".{namespace}.svc.{facts.mesh_config(db).domain}")
    if short != host:
        yield from (ObjectKey(*it) for it in db.keys(facts.rules_for_host, (namespace, short)))


@query
def parts(db: Database, rule: ObjectKey | None) -> tuple[DestinationRuleSpec, ...]:
    """A rule together with those it is merged with: of the same namespace, for the same host and the same clients.

    Subsets of all count, of the traffic policies only the first (Istio merges rules of one host in this way).
    """
    first = db.get(DestinationRule, rule) if rule else None
    if rule is None or first is None:
        return ()
    host = hostname.full(first.spec.host, rule.namespace, facts.mesh_config(db).domain)
    found = []
    for it in _written_for(db, rule.namespace, host):
        other = db.get(DestinationRule, it)
        if other is None or other.spec.workload_selector is not None:
            continue
        if set(other.spec.export_to) == set(first.spec.export_to):
            found.append((other.metadata.creation_timestamp, it, other.spec))
    return tuple(spec for _, _, spec in sorted(found, key=lambda it: it[:2]))


@query
def subsets(db: Database, rule: ObjectKey | None) -> tuple[tuple[str, Labels], ...]:
    """The subsets a rule names, with the labels that make them; of a name used twice, the first."""
    named: dict[str, Labels] = {}
    for part in parts(db, rule):
        for it in part.subsets:
            named.setdefault(it.name, labels.of(it.labels))
    return tuple(sorted(named.items()))


@query
def policy(db: Database, rule: ObjectKey | None, subset: str, port: int) -> TrafficPolicy:
    """What a rule says for a port of a subset ("" is the whole service).

    A subset's policy overrides the rule's part by part; what either says for the port replaces all of what is wider
    (Istio: DestinationRule, ``portLevelSettings``: settings of the destination are not inherited by the port).
    """
    written = parts(db, rule)
    whole = next((it.traffic_policy for it in written if it.traffic_policy), None)
    named = (one for it in written for one in it.subsets if subset and one.name == subset)
    own = next((it.traffic_policy for it in named), None)
    above = _parts(_at_port(own, port))
    if above is not None:
        return above
    below = _parts(_at_port(whole, port) or whole) or TrafficPolicy()
    above = _parts(own) or TrafficPolicy()
    return TrafficPolicy(
        load_balancer=above.load_balancer or below.load_balancer,
        connection_pool=above.connection_pool or below.connection_pool,
        outlier_detection=above.outlier_detection or below.outlier_detection,
        tls=above.tls or below.tls,
    )


def _at_port(written: Written | None, port: int) -> PortTrafficPolicy | None:
    settings = written.port_level_settings if written else []
    return next((it for it in settings if it.port and it.port.number == port), None)


def _parts(it: Written | PortTrafficPolicy | None) -> TrafficPolicy | None:
    return TrafficPolicy(it.load_balancer, it.connection_pool, it.outlier_detection, it.tls) if it else None
