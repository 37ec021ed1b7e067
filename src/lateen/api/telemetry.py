"""What is measured, traced and logged? Telemetry (telemetry.istio.io)."""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta, field

from lateen.api.meta import Duration, Fact, PolicyTarget, Text, Value, WorkloadSelector


class WorkloadMode(enum.StrEnum):
    """On which side of a connection."""

    UNDEFINED = "UNDEFINED"
    CLIENT_AND_SERVER = "CLIENT_AND_SERVER"
    CLIENT = "CLIENT"
    SERVER = "SERVER"


class ModeMatch(Value, frozen=True):
    """Matches one side of connections."""

    mode: WorkloadMode = WorkloadMode.CLIENT_AND_SERVER


class ProviderRef(Value, frozen=True):
    """A provider, by its name in MeshConfig."""

    name: Text


class Literal(Value, frozen=True):
    """A tag with a fixed value."""

    value: Text


class Named(Value, frozen=True):
    """A tag from an environment variable of the proxy, or from a header of the request."""

    name: Text
    default_value: str = ""


class CustomTag(Value, frozen=True):
    """What is added to spans."""

    ONE_OF = (("literal", "environment", "header", "formatter"),)

    literal: Literal | None = None
    environment: Named | None = None
    header: Named | None = None
    formatter: Literal | None = None


class Tracing(Value, frozen=True):
    """How requests are traced."""

    match: ModeMatch | None = None
    providers: list[ProviderRef] = []
    random_sampling_percentage: Annotated[float, Meta(ge=0, le=100)] | None = None
    disable_span_reporting: bool | None = None
    custom_tags: dict[str, CustomTag] = {}
    use_request_id_for_trace_sampling: bool | None = None
    enable_istio_tags: bool | None = None
    disable_context_propagation: bool | None = None


class IstioMetric(enum.StrEnum):
    """Istio's standard metrics."""

    ALL_METRICS = "ALL_METRICS"
    REQUEST_COUNT = "REQUEST_COUNT"
    REQUEST_DURATION = "REQUEST_DURATION"
    REQUEST_SIZE = "REQUEST_SIZE"
    RESPONSE_SIZE = "RESPONSE_SIZE"
    TCP_OPENED_CONNECTIONS = "TCP_OPENED_CONNECTIONS"
    TCP_CLOSED_CONNECTIONS = "TCP_CLOSED_CONNECTIONS"
    TCP_SENT_BYTES = "TCP_SENT_BYTES"
    TCP_RECEIVED_BYTES = "TCP_RECEIVED_BYTES"
    GRPC_REQUEST_MESSAGES = "GRPC_REQUEST_MESSAGES"
    GRPC_RESPONSE_MESSAGES = "GRPC_RESPONSE_MESSAGES"


class MetricSelector(Value, frozen=True):
    """Which metrics an override is about."""

    ONE_OF = (("metric", "customMetric"),)

    metric: IstioMetric = IstioMetric.ALL_METRICS
    custom_metric: Text = ""
    mode: WorkloadMode = WorkloadMode.CLIENT_AND_SERVER


class TagOperation(enum.StrEnum):
    """What becomes of a tag."""

    UPSERT = "UPSERT"
    REMOVE = "REMOVE"


class TagOverride(Value, frozen=True):
    """A tag that is set to an expression's value, or removed."""

    operation: TagOperation = TagOperation.UPSERT
    value: str = ""


class MetricsOverride(Value, frozen=True):
    """How some metrics differ from the standard."""

    match: MetricSelector | None = None
    disabled: bool | None = None
    tag_overrides: dict[str, TagOverride] = {}


class Metrics(Value, frozen=True):
    """What is measured."""

    providers: list[ProviderRef] = []
    overrides: list[MetricsOverride] = []
    reporting_interval: Duration | None = None


class LogFilter(Value, frozen=True):
    """A CEL expression; only requests for which it is true are logged."""

    expression: str = ""


class AccessLogging(Value, frozen=True):
    """What is logged."""

    match: ModeMatch | None = None
    providers: list[ProviderRef] = []
    disabled: bool | None = None
    filter: LogFilter | None = None


class TelemetrySpec(Value, frozen=True):
    """``spec`` of a Telemetry."""

    selector: WorkloadSelector | None = None
    target_ref: PolicyTarget | None = None
    target_refs: list[PolicyTarget] = []
    tracing: list[Tracing] = []
    metrics: list[Metrics] = []
    access_logging: list[AccessLogging] = []


class Telemetry(Fact, frozen=True):
    """What is measured, traced and logged of some workloads."""

    spec: TelemetrySpec = field(default_factory=TelemetrySpec)
