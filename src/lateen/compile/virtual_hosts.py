"""What becomes of a request to a service? Its routes: those of its VirtualService, else straight to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lateen.api.destination_rule import ConnectionPoolSettings, H2UpgradePolicy
from lateen.api.networking import Destination
from lateen.compile import load_balancing, naming
from lateen.compile.delegates import http_rules
from lateen.compile.horizons import Caller, Horizon
from lateen.compile.routes import Situation, Target, compiled, retried, spoken
from lateen.envoy import routes, wellknown
from lateen.incremental import Database
from lateen.names import hostname
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.names.ports import Protocol
from lateen.policy import routing, traffic
from lateen.registry import facts, services
from lateen.registry.services import Port


def service_routes(db: Database, caller: Caller, key: ServiceKey, port: int) -> list[routes.Fields]:
    """The routes of a service: its VirtualService's, else straight to it."""
    key = services.meant(db, key)
    rule = routing.rule_for_host(db, caller.horizon.namespace, key.hostname)
    if rule is not None:
        found = rule_routes(db, rule, caller, routing.MESH, port)
        if found:
            return found
    target = target_of(db, caller.horizon, Destination(host=key.hostname), key.namespace, port)
    action: dict[str, Any] = {"hash_policy": list(target.hashed)} if target.hashed else {}
    action |= retried(facts.mesh_config(db).default_http_retry_policy, hashed=bool(target.hashed))
    return [{**routes.forward(target.cluster, **action), **spoken(target)}]


def rule_routes(db: Database, key: ObjectKey, caller: Caller, gateway: str, port: int) -> list[routes.Fields]:
    """The routes of a VirtualService for a caller; those of TCP and TLS are not requests."""
    situation = Situation(
        gateway, port, caller.namespace, caller.labels, key.namespace, _targets(db, caller, key.namespace, port),
        facts.mesh_config(db).default_http_retry_policy,
    )  # fmt: skip
    origin = routes.shaped_by(wellknown.written_in("virtual-service", key.namespace, key.name))
    return [{**route, **origin} for route in compiled(http_rules(db, key), situation)]


def _targets(db: Database, caller: Caller, owner: str, port: int) -> Callable[[Destination], Target]:
    return lambda destination: target_of(db, caller.horizon, destination, owner, port)


def target_of(db: Database, world: Horizon, destination: Destination, owner: str, port: int) -> Target:
    """The cluster a destination means: of a service with one port that is the port, else the one that was called."""
    host = hostname.full(destination.host, owner, facts.mesh_config(db).domain)
    named = services.by_hostname(db, host)
    key = services.meant(db, named) if named else None
    service = services.service(db, key) if key else None
    number = destination.port.number if destination.port else port
    if key is None or service is None:
        return Target(naming.outbound(host, number, destination.subset))
    if destination.port is None and len(service.ports) == 1:
        number = service.ports[0].number
    rule = traffic.rule_for(db, key, world.namespace)
    policy = traffic.policy(db, rule, destination.subset, number)
    return Target(
        naming.outbound(key.hostname, number, destination.subset),
        load_balancing.hash_policy(policy.load_balancer),
        is_upgraded(service.port(number), policy.connection_pool),
    )


def is_upgraded(port: Port | None, pool: ConnectionPoolSettings | None) -> bool:
    """Whether requests of HTTP/1.1 are carried by HTTP/2 between proxies."""
    asked = (
        pool is not None and pool.http is not None and pool.http.h2_upgrade_policy is H2UpgradePolicy.UPGRADE
    )
    return asked and port is not None and port.protocol is Protocol.HTTP
