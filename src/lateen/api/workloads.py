"""What do users write about workloads outside of Kubernetes? WorkloadEntry and WorkloadGroup (networking.istio.io)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lateen.api.meta import Fact, Uint32, Value

_Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class WorkloadEntrySpec(Value, frozen=True):
    """``spec`` of a WorkloadEntry, and the template of a group."""

    address: str = ""
    ports: dict[str, Uint32] = {}
    labels: dict[str, str] = {}
    network: str = ""
    locality: str = ""
    weight: Uint32 = 0
    service_account: str = ""


class WorkloadEntry(Fact, frozen=True, kw_only=True):
    """One workload that no pod stands for."""

    spec: WorkloadEntrySpec


class TemplateMeta(Value, frozen=True):
    """What the entries of a group get."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class ProbeHeader(Value, frozen=True):
    """A header that a probe sends."""

    name: Annotated[str, Meta(pattern=r"^[-_A-Za-z0-9]+$")] = ""
    value: str = ""


class HTTPHealthCheck(Value, frozen=True, kw_only=True):
    """Healthy while a request is answered well."""

    path: str = ""
    port: Uint32
    host: str = ""
    scheme: str = ""
    http_headers: list[ProbeHeader] = []


class TCPHealthCheck(Value, frozen=True, kw_only=True):
    """Healthy while a connection is accepted."""

    host: str = ""
    port: Uint32


class ExecHealthCheck(Value, frozen=True):
    """Healthy while a command succeeds."""

    command: list[str]


class GRPCHealthCheck(Value, frozen=True):
    """Healthy while gRPC's health service says so."""

    port: Uint32 = 0
    service: str = ""


class ReadinessProbe(Value, frozen=True):
    """How the agent on a machine finds out that its workload can serve."""

    ONE_OF = (("httpGet", "tcpSocket", "exec", "grpc"),)

    initial_delay_seconds: _Count = 0
    timeout_seconds: _Count = 0
    period_seconds: _Count = 0
    success_threshold: _Count = 0
    failure_threshold: _Count = 0
    http_get: HTTPHealthCheck | None = None
    tcp_socket: TCPHealthCheck | None = None
    exec: ExecHealthCheck | None = None
    grpc: GRPCHealthCheck | None = None


class WorkloadGroupSpec(Value, frozen=True, kw_only=True):
    """``spec`` of a WorkloadGroup."""

    metadata: TemplateMeta = TemplateMeta()
    template: WorkloadEntrySpec
    probe: ReadinessProbe | None = None


class WorkloadGroup(Fact, frozen=True, kw_only=True):
    """What workloads that register themselves look like."""

    spec: WorkloadGroupSpec
