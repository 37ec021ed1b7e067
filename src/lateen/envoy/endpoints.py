"""Who answers? Assignments of endpoints to clusters, by locality."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from envoy.config.endpoint.v3 import endpoint_pb2

from lateen.envoy import wellknown
from lateen.envoy.sealing import Message, texts


@dataclass(frozen=True, slots=True)
class Member:
    """One address of a cluster: ``workload`` is packed for metrics, ``mesh`` tells that a sidecar answers."""

    address: str
    port: int
    workload: str
    mesh: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Members of one place: (region, zone, subzone)."""

    locality: tuple[str, str, str]
    members: tuple[Member, ...]


def _member(it: Member) -> dict[str, Any]:
    metadata: dict[str, Any] = {wellknown.MESH_METADATA: texts(packed=it.workload)}
    if it.mesh:
        metadata[wellknown.TRANSPORT_MATCH] = texts(tlsMode="istio")
    return {
        "endpoint": {"address": socket_address(it.address, it.port)},
        "metadata": {"filter_metadata": metadata},
        "health_status": "HEALTHY",
    }


def socket_address(address: str, port: int) -> dict[str, Any]:
    """An address; one that begins with ``/`` is a unix socket."""
    if address.startswith("/"):
        return {"pipe": {"path": address}}
    return {"socket_address": {"address": address, "port_value": port}}


def assignment(name: str, groups: Sequence[Group]) -> Message:
    """The endpoints of a cluster. Envoy wants localities weighted by the number of their members."""
    return endpoint_pb2.ClusterLoadAssignment(cluster_name=name, endpoints=list(_localities(groups)))


def _localities(groups: Iterable[Group]) -> Iterable[dict[str, Any]]:
    for it in groups:
        region, zone, subzone = it.locality
        yield {
            "locality": {"region": region, "zone": zone, "sub_zone": subzone},
            "lb_endpoints": [_member(member) for member in it.members],
            "load_balancing_weight": {"value": max(1, len(it.members))},
        }
