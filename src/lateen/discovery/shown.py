"""How is what we know shown? The database and views as JSON, in the words of Istio's debug pages where they exist."""

from __future__ import annotations

from typing import Any

from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, View
from lateen.envoy.sealing import describe
from lateen.incremental import Database
from lateen.names.keys import ServiceKey
from lateen.registry import endpoints as registered
from lateen.registry import services
from lateen.registry.services import Service

Json = dict[str, Any]


def registry(db: Database) -> list[Json]:
    """``/debug/registryz``: every service."""
    found = ((key, services.service(db, key)) for key in services.keys(db))
    return [_service(key, it) for key, it in sorted(found) if it]


def _service(key: ServiceKey, it: Service) -> Json:
    ports = [{"name": port.name, "port": port.number, "protocol": port.protocol.value} for port in it.ports]
    labels, selector = dict(it.labels), dict(it.selector)
    return {
        "Attributes": {
            "ServiceRegistry": "Kubernetes", "Name": it.name, "Namespace": key.namespace, "Labels": labels or None,
            "LabelSelectors": selector or None, "ExportTo": list(it.export_to),
        },
        "hostname": key.hostname, "ports": ports, "defaultAddress": it.addresses[0] if it.addresses else "0.0.0.0",
        "addresses": list(it.addresses), "resolution": it.resolution.value,
    }  # fmt: skip


def endpoints(db: Database) -> list[Json]:
    """``/debug/endpointz``: every port of every service with what answers there."""
    return [
        {
            "svc": f"{key.hostname}:{port.name}",
            "ep": [
                {
                    "service": key.hostname, "address": it.address, "port": it.port, "mesh": it.in_mesh,
                    "labels": dict(it.labels), "workload": str(it.workload.key) if it.workload else "",
                }
                for it in registered.endpoints(db, key, port.name)
            ],
            "waiting": list(registered.waiting(db, key)),  # for their pods to be known
        }
        for key in sorted(services.keys(db)) if (service := services.service(db, key)) for port in service.ports
    ]  # fmt: skip


def config_dump(view: View) -> Json:
    """A view in the form in which Envoy shows its own (https://www.envoyproxy.io/docs/envoy/latest/operations/admin)."""
    clusters = [{"version_info": it[0], "cluster": it[1]} for it in _all(view, CLUSTER)]
    assignments = [{"version_info": it[0], "endpoint_config": it[1]} for it in _all(view, ENDPOINT)]
    listeners = [
        {"name": it[1]["name"], "active_state": {"version_info": it[0], "listener": it[1]}}
        for it in _all(view, LISTENER)
    ]
    routes = [{"version_info": it[0], "route_config": it[1]} for it in _all(view, ROUTE)]
    kind = "type.googleapis.com/envoy.admin.v3."
    return {
        "configs": [
            {"@type": f"{kind}ClustersConfigDump", "dynamic_active_clusters": clusters},
            {"@type": f"{kind}EndpointsConfigDump", "dynamic_endpoint_configs": assignments},
            {"@type": f"{kind}ListenersConfigDump", "dynamic_listeners": listeners},
            {"@type": f"{kind}RoutesConfigDump", "dynamic_route_configs": routes},
        ]
    }


def _all(view: View, type_url: Any) -> list[tuple[str, Json]]:
    return [(it.version, describe(type_url, it.body)) for _, it in sorted(view.get(type_url, {}).items())]
