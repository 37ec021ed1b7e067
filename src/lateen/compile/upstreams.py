"""Of what is a cluster made? All that decides its content, in one key that whoever agrees on it shares."""

from __future__ import annotations

from typing import NamedTuple

from lateen.api.destination_rule import (
    DestinationRule,
    PortTrafficPolicy,
    Subset,
    TrafficPolicy,
)
from lateen.compile import naming
from lateen.incremental import Database, query
from lateen.names.keys import ObjectKey, ServiceKey


class Upstream(NamedTuple):
    """A cluster, named by all that decides its content."""

    service: ServiceKey
    port: int
    subset: str = ""
    rule: ObjectKey | None = None  # the DestinationRule that won for this client, if any

    @property
    def name(self) -> str:
        """The cluster's name."""
        return naming.outbound(self.service.hostname, self.port, self.subset)

    @property
    def server_name(self) -> str:
        """The SNI for its sidecars."""
        return naming.server_name(self.service.hostname, self.port, self.subset)


@query
def policy_of(db: Database, upstream: Upstream) -> TrafficPolicy:
    """What the rule says for this port and subset: a port's settings replace the rule's, the subset's both."""
    rule = db.get(DestinationRule, upstream.rule) if upstream.rule else None
    if rule is None:
        return TrafficPolicy()
    policy = _for_port(rule.spec.traffic_policy, upstream.port)
    subset = subset_of(rule, upstream.subset)
    if subset is None or subset.traffic_policy is None:
        return policy
    own = _for_port(subset.traffic_policy, upstream.port)
    return TrafficPolicy(
        load_balancer=own.load_balancer or policy.load_balancer,
        connection_pool=own.connection_pool or policy.connection_pool,
        outlier_detection=own.outlier_detection or policy.outlier_detection,
        tls=own.tls or policy.tls,
    )


def subset_of(rule: DestinationRule | None, name: str) -> Subset | None:
    """The subset of this name."""
    return next((it for it in rule.spec.subsets if it.name == name), None) if rule and name else None


def _for_port(policy: TrafficPolicy | None, port: int) -> TrafficPolicy:
    if policy is None:
        return TrafficPolicy()
    for it in policy.port_level_settings:
        if it.port and it.port.number == port:
            return _replacing(policy, it)
    return policy


def _replacing(policy: TrafficPolicy, it: PortTrafficPolicy) -> TrafficPolicy:
    # Settings of a port do not inherit from the rule's (DestinationRule, portLevelSettings).
    return TrafficPolicy(
        load_balancer=it.load_balancer, connection_pool=it.connection_pool, outlier_detection=it.outlier_detection,
        tls=it.tls or policy.tls,
    )  # fmt: skip
