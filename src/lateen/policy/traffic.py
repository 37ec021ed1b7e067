"""What applies to traffic for a service? The DestinationRule that wins, and its policy for a subset and port."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lateen.api.destination_rule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    DestinationRule,
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
    exact = db.keys(facts.rules_for_host, (namespace, service.hostname))
    for it in (*exact, *db.keys(facts.wildcard_rules_in, namespace)):
        rule = db.get(DestinationRule, it)
        if rule is None or rule.spec.workload_selector is not None:
            continue
        host = hostname.full(rule.spec.host, namespace)
        if hostname.matches(host, service.hostname) and exported(rule.spec.export_to, namespace, client):
            yield hostname.specificity(host), rule.metadata.creation_timestamp, ObjectKey(*it)


@query
def subsets(db: Database, rule: ObjectKey | None) -> tuple[tuple[str, Labels], ...]:
    """The subsets a rule names, with the labels that make them; of a name used twice, the first."""
    found = db.get(DestinationRule, rule) if rule else None
    named: dict[str, Labels] = {}
    for it in found.spec.subsets if found else ():
        named.setdefault(it.name, labels.of(it.labels))
    return tuple(sorted(named.items()))


@query
def policy(db: Database, rule: ObjectKey | None, subset: str, port: int) -> TrafficPolicy:
    """What a rule says for a port of a subset ("" is the whole service).

    A subset's policy overrides the rule's part by part; a port's policy replaces its level's
    (Istio: DestinationRule, ``portLevelSettings``: settings of the destination are not inherited by the port).
    """
    found = db.get(DestinationRule, rule) if rule else None
    if found is None:
        return TrafficPolicy()
    whole = _of_level(found.spec.traffic_policy, port)
    own = (
        next((it.traffic_policy for it in found.spec.subsets if it.name == subset), None) if subset else None
    )
    above = _of_level(own, port)
    return replace(
        whole,
        load_balancer=above.load_balancer or whole.load_balancer,
        connection_pool=above.connection_pool or whole.connection_pool,
        outlier_detection=above.outlier_detection or whole.outlier_detection,
        tls=above.tls or whole.tls,
    )


def _of_level(written: Written | None, port: int) -> TrafficPolicy:
    if written is None:
        return TrafficPolicy()
    chosen: Written | PortTrafficPolicy = written
    for it in written.port_level_settings:
        if it.port and it.port.number == port:
            chosen = it
            break
    return TrafficPolicy(chosen.load_balancer, chosen.connection_pool, chosen.outlier_detection, chosen.tls)
