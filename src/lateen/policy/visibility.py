"""Who may see it? ``exportTo`` of services, routes and rules."""

from __future__ import annotations

from collections.abc import Iterable

from lateen.api.networking import VirtualService
from lateen.incremental import Database, query
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.registry import facts, services


def exported(export_to: Iterable[str], owner: str, client: str) -> bool:
    """Whether a namespace sees something of another: ``*`` all, ``.`` its own, ``~`` nobody, else named ones.

    Istio: https://istio.io/latest/docs/reference/config/networking/virtual-service/ (exportTo); empty means ``*``.
    """
    listed = list(export_to) or ["*"]
    return "~" not in listed and ("*" in listed or client in listed or ("." in listed and owner == client))


@query
def visible_services(db: Database, client: str) -> tuple[ServiceKey, ...]:
    """The services a namespace may call, by hostname. An alias opens nothing: its service must be visible, too."""
    return tuple(it for it in services.keys(db) if is_visible(db, it, client))


def is_visible(db: Database, key: ServiceKey, client: str) -> bool:
    """Whether a namespace may call a service."""
    found = services.service(db, key)
    if found is None or not exported(found.export_to, key.namespace, client):
        return False
    return found.alias_of is None or is_visible(db, found.alias_of, client)


@query
def private_namespaces(db: Database) -> frozenset[str]:
    """Namespaces which see something that others do not: only they need a world of their own."""
    default = facts.mesh_config(db).default_virtual_service_export_to
    found: set[str] = set()
    for key in services.keys(db):
        service = services.service(db, key)
        if service and "*" not in service.export_to:
            found.update(_named(service.export_to, key.namespace))
    for it in db.keys(facts.all_virtual_services, facts.ONLY):
        rule = db.get(VirtualService, it)
        export_to = (rule.spec.export_to or default) if rule else []
        if export_to and "*" not in export_to:
            found.update(_named(export_to, ObjectKey(*it).namespace))
    return frozenset(found)


def _named(export_to: Iterable[str], owner: str) -> set[str]:
    return {owner if it == "." else it for it in export_to if it not in ("*", "~")}
