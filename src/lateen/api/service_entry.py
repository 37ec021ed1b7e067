"""What do users write about services outside of Kubernetes? ServiceEntry (networking.istio.io)."""

from __future__ import annotations

import enum

from lateen.api.meta import Fact, Value


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

    number: int = 0
    name: str = ""
    protocol: str = ""
    target_port: int = 0


class EntryEndpoint(Value, frozen=True):
    """One endpoint, written into the entry."""

    address: str = ""
    ports: dict[str, int] = {}
    labels: dict[str, str] = {}
    network: str = ""
    locality: str = ""
    weight: int = 0
    service_account: str = ""


class LabelSelector(Value, frozen=True):
    """Workloads by their labels, as networking's kinds write it."""

    labels: dict[str, str] = {}


class ServiceEntrySpec(Value, frozen=True):
    """``spec`` of a ServiceEntry. Hosts are required."""

    hosts: list[str]
    addresses: list[str] = []
    ports: list[EntryPort] = []
    location: Location = Location.MESH_EXTERNAL
    resolution: Resolution = Resolution.NONE
    endpoints: list[EntryEndpoint] = []
    workload_selector: LabelSelector | None = None
    export_to: list[str] = []
    subject_alt_names: list[str] = []


class ServiceEntry(Fact, frozen=True, kw_only=True):
    """A service by its hosts."""

    spec: ServiceEntrySpec
