"""What do users write about services outside of Kubernetes? ServiceEntry (networking.istio.io)."""

from __future__ import annotations

import enum

from lateen.api.meta import Fact, LabelSelector, Uint32, Value
from lateen.api.workloads import WorkloadEntrySpec


class Location(enum.StrEnum):
    """Whether its endpoints are part of the mesh."""

    MESH_EXTERNAL = "MESH_EXTERNAL"
    MESH_INTERNAL = "MESH_INTERNAL"


class Resolution(enum.StrEnum):
    """How its addresses become known."""

    NONE = "NONE"
    STATIC = "STATIC"
    DNS = "DNS"
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"
    DYNAMIC_DNS = "DYNAMIC_DNS"


class EntryPort(Value, frozen=True):
    """A port of the service; ``target_port`` is its endpoints'."""

    number: Uint32 = 0
    name: str = ""
    protocol: str = ""
    target_port: Uint32 = 0


class ServiceEntrySpec(Value, frozen=True):
    """``spec`` of a ServiceEntry. Hosts are required."""

    hosts: list[str]
    addresses: list[str] = []
    ports: list[EntryPort] = []
    location: Location = Location.MESH_EXTERNAL
    resolution: Resolution = Resolution.NONE
    endpoints: list[WorkloadEntrySpec] = []
    workload_selector: LabelSelector | None = None
    export_to: list[str] = []
    subject_alt_names: list[str] = []


class ServiceEntry(Fact, frozen=True, kw_only=True):
    """A service by its hosts."""

    spec: ServiceEntrySpec
