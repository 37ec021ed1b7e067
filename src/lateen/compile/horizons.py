"""What of a client changes the outbound world? Small keys, so that clients who agree share every resource."""

from __future__ import annotations

from typing import NamedTuple

from lateen.api.destination_rule import DestinationRule
from lateen.compile import naming
from lateen.incremental import Database, query
from lateen.names import hostname
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.names.labels import Labels
from lateen.policy import traffic, visibility
from lateen.registry import facts, services
from lateen.registry.services import Resolution


class Horizon(NamedTuple):
    """A world: the namespace is empty when it sees nothing that others do not."""

    namespace: str = ""


class Caller(NamedTuple):
    """What routes depend on: the world, the namespace whose short names count, and labels that some rule asks for."""

    horizon: Horizon
    namespace: str = ""
    labels: Labels = ()


class Upstream(NamedTuple):
    """A cluster, named by all that decides its content."""

    service: ServiceKey
    port: int
    subset: str = ""
    rule: ObjectKey | None = None  # the DestinationRule that won for this client, if any
    from_gateway: bool = False  # its clients are outside of the mesh: none of them has chosen an address

    @property
    def name(self) -> str:
        """The cluster's name."""
        return naming.outbound(self.service.hostname, self.port, self.subset)

    @property
    def server_name(self) -> str:
        """The SNI for its sidecars."""
        return naming.server_name(self.service.hostname, self.port, self.subset)


@query
def horizon(db: Database, namespace: str) -> Horizon:
    """The world a namespace sees."""
    own = namespace in visibility.private_namespaces(db) or namespace in _ruling(db)
    return Horizon(namespace if own else "")


@query
def _ruling(db: Database) -> frozenset[str]:
    """Namespaces whose own rules others do not follow, or that see rules which are not for all."""
    root = facts.mesh_config(db).root_namespace
    domain = facts.mesh_config(db).domain
    default = facts.mesh_config(db).default_destination_rule_export_to
    found: set[str] = set()
    for key in _rules(db):
        rule = db.get(DestinationRule, key)
        if rule is None:
            continue
        export = rule.spec.export_to or default
        if export and "*" not in export:
            found.update(key.namespace if it == "." else it for it in export)
        host = hostname.full(rule.spec.host, key.namespace, domain)
        if key.namespace != root and not host.endswith(f".{key.namespace}.svc.{domain}"):
            found.add(key.namespace)
    return frozenset(found)


@query
def _rules(db: Database) -> tuple[ObjectKey, ...]:
    """All DestinationRules that have a say about some service."""
    return tuple(ObjectKey(*it) for it in db.keys(facts.all_destination_rules, facts.ONLY))


@query
def gateway_upstreams(db: Database, world: Horizon) -> tuple[Upstream, ...]:
    """The clusters that are different for gateways: of headless services."""
    found = []
    for it in upstreams(db, world):
        service = services.service(db, it.service)
        if service and service.resolution is Resolution.HEADLESS:
            found.append(it._replace(from_gateway=True))
    return tuple(found)


@query
def upstreams(db: Database, world: Horizon) -> tuple[Upstream, ...]:
    """All clusters that a world needs, by name."""
    found: list[Upstream] = []
    for key in visibility.visible_services(db, world.namespace):
        service = services.service(db, key)
        if service is None or service.resolution is Resolution.ALIAS:
            continue
        rule = traffic.rule_for(db, key, world.namespace)
        subsets = ["", *(name for name, _ in traffic.subsets(db, rule))]
        for port in service.ports:
            if port.protocol != "UDP":
                found += [Upstream(key, port.number, subset, rule) for subset in subsets]
    return tuple(sorted(dict.fromkeys(found), key=lambda it: it.name))
