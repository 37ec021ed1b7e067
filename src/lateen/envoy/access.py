"""What is told about each request? The metrics in packed tags, and the text or JSON log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.stats.v3 import stats_pb2

from lateen.envoy.sealing import Message, packed, struct
from lateen.names import metrics

_HISTOGRAMS = (
    (metrics.DURATION, "Milliseconds", "%DURATION%"),
    (metrics.REQUEST_BYTES, "Bytes", "%BYTES_RECEIVED%"),
    (metrics.RESPONSE_BYTES, "Bytes", "%BYTES_SENT%"),
)


def _text(number: int, value: bytes) -> bytes:
    """A text (or message) field of protobuf, shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(value)]) + value


#: ``stats_scope: {prefix: istio, sharing_name: istio}``: all loggers count in one place, so that a changed listener does
#: not forget what it counted. Our messages are older than Envoy: they carry the field without knowing it.
_SCOPE = _text(6, _text(5, metrics.PREFIX.encode()) + _text(6, metrics.PREFIX.encode()))


def _tags(kind: str, client: bool, service: str) -> list[dict[str, str]]:
    peer = ("%UPSTREAM_METADATA(mesh:packed)%", "%UPSTREAM_PEER_URI_SAN%")
    if not client:
        peer = ("%DOWNSTREAM_PEER_SUBJECT%", "%DOWNSTREAM_PEER_URI_SAN%")
    values = (kind, *peer, service or "||", "%RESPONSE_FLAGS%", "%RESPONSE_CODE%")
    return [{"name": tag, "value_format": it} for tag, it in zip(metrics.TAGS, values, strict=True)]


def _stats(tags: list[dict[str, str]], counters: Mapping[str, str], histograms: bool) -> Message:
    """Counters by name: the value to add, ``1`` or a format."""
    config = stats_pb2.Config()
    config.MergeFromString(_SCOPE)
    for name, value in counters.items():
        stat = {"name": name, "tags": tags}
        if value == "1":
            config.counters.add(stat=stat, value_fixed={"value": 1})
        else:
            config.counters.add(stat=stat, value_format=value)
    for name, unit, value in _HISTOGRAMS if histograms else ():
        config.histograms.add(stat={"name": name, "tags": tags}, unit=unit, value_format=value)
    return packed(config)


def http_metrics(side: str, security: str, service: str) -> list[Message]:
    """Metrics of requests; gRPC is told apart, as only it has a status of its own. ``side``: ``s`` or ``d``."""
    loggers = []
    for protocol in ("http", "grpc"):
        tags = _tags(f"{side}|{protocol}|{security}", side == metrics.SOURCE, service)
        if protocol == "grpc":
            tags.append({"name": metrics.GRPC_TAG, "value_format": "%GRPC_STATUS_NUMBER%"})
        grpc = {
            "name": "content-type",
            "string_match": {"prefix": "application/grpc"},
            "invert_match": protocol == "http",
            # Else a request without the header would match neither.
            "treat_missing_header_as_empty": True,
        }
        loggers.append(
            accesslog_pb2.AccessLog(
                name="envoy.access_loggers.stats",
                filter={"header_filter": {"header": grpc}},
                typed_config=_stats(tags, {metrics.REQUESTS: "1"}, histograms=True),
            )
        )
    return loggers


def tcp_metrics(side: str, security: str, service: str) -> list[Message]:
    """Metrics of connections. Bytes count at the end only: Envoy's periodic figures are cumulative."""
    tags = _tags(f"{side}|tcp|{security}", side == metrics.SOURCE, service)
    moments = {
        "TcpUpstreamConnected": {metrics.TCP_OPENED: "1"},
        "TcpConnectionEnd": {
            metrics.TCP_CLOSED: "1", metrics.TCP_RECEIVED: "%BYTES_RECEIVED%", metrics.TCP_SENT: "%BYTES_SENT%",
        },
    }  # fmt: skip
    return [
        accesslog_pb2.AccessLog(
            name="envoy.access_loggers.stats",
            filter={"log_type_filter": {"types": [moment]}},
            typed_config=_stats(tags, counters, histograms=False),
        )
        for moment, counters in moments.items()
    ]


_TEXT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% '
    '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
_JSON = {
    "start_time": "%START_TIME%", "method": "%REQ(:METHOD)%", "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%", "response_code": "%RESPONSE_CODE%", "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "bytes_received": "%BYTES_RECEIVED%", "bytes_sent": "%BYTES_SENT%", "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%", "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%", "request_id": "%REQ(X-REQUEST-ID)%", "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%", "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%", "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%", "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "route_name": "%ROUTE_NAME%",
}  # fmt: skip


def file_log(path: str, encoding: str, text_format: str, *, connections: bool) -> Message:
    """Istio's access log; ``text_format`` replaces the default, ``encoding`` (``TEXT`` or ``JSON``) says what it is."""
    if encoding == "JSON":
        shown: dict[str, object] = {"json_format": struct(_fields(text_format) or _JSON)}
    else:
        line = text_format or _TEXT
        shown = {"text_format_source": {"inline_string": line if line.endswith("\n") else line + "\n"}}
    # Connections are logged when they are open, too, for the metrics' sake; a line is written once.
    opened = {"log_type_filter": {"types": ["TcpUpstreamConnected"], "exclude": True}}
    return accesslog_pb2.AccessLog(
        name="envoy.access_loggers.file",
        filter=opened if connections else None,
        typed_config=packed(file_pb2.FileAccessLog(path=path, log_format=shown)),
    )


def _fields(text: str) -> dict[str, Any]:
    """The fields of a JSON format; none when it is no JSON object, as Istio then takes its default too."""
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
