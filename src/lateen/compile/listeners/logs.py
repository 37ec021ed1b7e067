"""What is told about connections and requests? The loggers of one side, as the mesh's settings want them."""

from __future__ import annotations

from typing import Any

from lateen.envoy import access
from lateen.incremental import Database
from lateen.names import metrics
from lateen.registry import facts

#: The client reads the service from the cluster that was chosen.
_CHOSEN = "%CLUSTER_METADATA(mesh:packed)%"


def text(db: Database, *, connections: bool) -> list[Any]:
    """The access log of requests or of connections, where the mesh has one."""
    settings = facts.mesh_config(db)
    if not settings.access_log_file:
        return []
    return [
        access.file_log(
            settings.access_log_file,
            settings.access_log_encoding.value,
            settings.access_log_format,
            connections=connections,
        )
    ]


def client(db: Database, *, http: bool) -> list[Any]:
    """For what leaves."""
    tell = access.http_metrics if http else access.tcp_metrics
    return [*tell(metrics.SOURCE, "unknown", _CHOSEN), *text(db, connections=not http)]


def server(db: Database, security: str, service: str, *, http: bool) -> list[Any]:
    """For what arrives; ``service`` is packed."""
    tell = access.http_metrics if http else access.tcp_metrics
    return [*tell(metrics.DESTINATION, security, service), *text(db, connections=not http)]
