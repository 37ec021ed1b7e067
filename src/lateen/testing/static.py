"""Would Envoy accept it? A bootstrap that holds everything of a view, for ``envoy --mode validate``."""

from __future__ import annotations

from typing import Any

from lateen.envoy.bootstrap import Node, bootstrap
from lateen.envoy.resource import CLUSTER, LISTENER, ROUTE, TypeUrl, View
from lateen.envoy.sealing import describe

_HTTP = "type.googleapis.com/envoy.extensions.filters.http"
_CONNECTIONS = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_FILTERS = [
    {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": f"{_HTTP}.{kind}"}}
    for name, kind in (
        ("fault", "fault.v3.HTTPFault"),
        ("cors", "cors.v3.Cors"),
        ("router", "router.v3.Router"),
    )
]


def statically(found: View) -> dict[str, Any]:
    """The bootstrap. Routes, which cannot be static, become listeners of their own."""
    made = bootstrap(Node("sidecar~10.0.0.1~a.b~c", "c"))
    made["static_resources"]["clusters"] += _all_of(found, CLUSTER)
    listeners = _all_of(found, LISTENER)
    for number, routes in enumerate(_all_of(found, ROUTE)):
        connections = {
            "@type": _CONNECTIONS,
            "stat_prefix": "x",
            "route_config": routes,
            "http_filters": _FILTERS,
        }
        filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}]
        address = {"socket_address": {"address": "127.0.0.1", "port_value": 20000 + number}}
        listeners.append(
            {"name": f"routes-{number}", "address": address, "filter_chains": [{"filters": filters}]}
        )
    made["static_resources"]["listeners"] += listeners
    _unshare(made)
    return made


def _unshare(shown: Any) -> None:
    """``--mode validate`` of Envoy 1.40 crashes where statistics are shared; a running one does not."""
    if isinstance(shown, dict):
        if "stats_scope" in shown:
            shown["stats_scope"] = {"prefix": shown["stats_scope"]["prefix"]}
        for it in shown.values():
            _unshare(it)
    elif isinstance(shown, list):
        for it in shown:
            _unshare(it)


def _all_of(found: View, kind: TypeUrl) -> list[dict[str, Any]]:
    return [{k: v for k, v in describe(kind, it.body).items() if k != "@type"} for it in found[kind].values()]
